/**
 * Ids of features, "model/site/basis/index", as the trait `feature` of every view holds them. In: an id, or what the ids
 * of a store begin with and an index. Out: the one from the other. Pure.
 */

/** The index of a feature of this store; null: it is no feature, or another's. */
export function indexOf(id: string, base: string): number | null {
  const tail = id.slice(base.length);
  return id.startsWith(base) && /^\d+$/.test(tail) ? Number(tail) : null;
}

export const idOf = (base: string, index: number | null): string => (index === null ? "" : `${base}${index}`);
