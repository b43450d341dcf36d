/**
 * The widget's model as the front end sees it: the part of anywidget's `AnyModel` that we use, and listeners that end
 * with an AbortSignal. Every host (JupyterLab, marimo, the offline page) gives an object of this shape.
 */

export interface Model<T extends object> {
  get<K extends keyof T & string>(key: K): T[K];
  set<K extends keyof T & string>(key: K, value: T[K]): void;
  save_changes(): void;
  send(message: unknown): void;
  on(event: string, callback: (...args: unknown[]) => void): void;
  off(event: string, callback: (...args: unknown[]) => void): void;
}

/** What a host lets one view do with another; anywidget 0.11 and later. */
export interface Host {
  getModel(ref: string): Promise<Model<Record<string, unknown>>>;
  getWidget(ref: string): Promise<{ render: (into: { el: HTMLElement; signal?: AbortSignal }) => Promise<unknown> }>;
}

/** Listens to a model until the signal ends. */
export function listen<T extends object>(
  model: Model<T>,
  event: string,
  signal: AbortSignal,
  callback: (...args: unknown[]) => void,
): void {
  if (signal.aborted) return;
  model.on(event, callback);
  signal.addEventListener("abort", () => {
    model.off(event, callback);
  });
}
