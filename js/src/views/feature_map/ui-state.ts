/**
 * UI-only state of one mounted map: what this view knows and nobody else should. Made anew for every view, never saved;
 * what Python shares is in synced.ts.
 */
export interface UiState {
  lasso: boolean; // a drag selects instead of moving the map
  query: string;
  hits: readonly number[]; // points that match it
  at: number; // which of them was gone to last
}

export const createUiState = (): UiState => ({ lasso: false, query: "", hits: [], at: -1 });
