/**
 * Finding text in tokens. In: the pieces and what is looked for. Out: for each place the first and last token that it
 * touches. A query without capitals finds capitals too. Pure.
 */

export type Hit = readonly [first: number, last: number];

export class Finder {
  readonly #text: string;
  readonly #folded: string;
  readonly #starts: Uint32Array;

  constructor(pieces: readonly string[]) {
    this.#text = pieces.join("");
    // a letter whose small form is longer (İ) would shift all places behind it
    const folded = this.#text.toLowerCase();
    this.#folded = folded.length === this.#text.length ? folded : this.#text;
    this.#starts = new Uint32Array(pieces.length);
    let at = 0;
    pieces.forEach((piece, i) => {
      this.#starts[i] = at;
      at += piece.length;
    });
  }

  hits(query: string): Hit[] {
    if (query === "") return [];
    const text = query === query.toLowerCase() ? this.#folded : this.#text;
    const found: Hit[] = [];
    for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
      found.push([this.#tokenAt(at), this.#tokenAt(at + query.length - 1)]);
    }
    return found;
  }

  /** The token that the character at this place belongs to. */
  #tokenAt(place: number): number {
    const starts = this.#starts;
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
