/**
 * Copying. `copyText` puts text on the clipboard, by the old way where the new one is not allowed (plain http).
 * `copyTokens` answers a copy event inside a token strip: the text comes from the pieces themselves, so it is whole and
 * unbroken even where the strip shows only some of its blocks.
 */
import { h } from "./dom.js";

export async function copyText(text: string, near: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "ng-offscreen", "aria-hidden": "true", tabindex: -1 });
    area.value = text;
    near.append(area);
    area.select();
    try {
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way on a page without https
      return document.execCommand("copy");
    } catch {
      return false;
    } finally {
      area.remove();
    }
  }
}

const tokenAt = (node: Node): HTMLElement | null =>
  (node instanceof Element ? node : node.parentElement)?.closest<HTMLElement>(".ng-tok") ?? null;

/** Copies the selected run of tokens as the text they stand for; leaves other selections to the browser. */
export function copyTokens(event: ClipboardEvent, piecesOf: (strip: Element) => readonly string[] | null): void {
  const root = (event.target as Node).getRootNode() as Node & { getSelection?: () => Selection | null };
  const selection = root.getSelection?.() ?? document.getSelection();
  if (!selection || selection.isCollapsed || selection.rangeCount === 0 || !event.clipboardData) return;
  const range = selection.getRangeAt(0);
  const [first, last] = [tokenAt(range.startContainer), tokenAt(range.endContainer)];
  const strip = first?.closest(".ng-tokens");
  if (!first || !last || !strip || last.closest(".ng-tokens") !== strip) return;
  const pieces = piecesOf(strip);
  if (!pieces) return;
  const [from, to] = [Number(first.dataset.i), Number(last.dataset.i)];
  const parts = pieces.slice(from, to + 1);
  if (range.endContainer.nodeType === Node.TEXT_NODE) parts[to - from] = parts[to - from]?.slice(0, range.endOffset) ?? "";
  if (range.startContainer.nodeType === Node.TEXT_NODE) parts[0] = parts[0]?.slice(range.startOffset) ?? "";
  event.clipboardData.setData("text/plain", parts.join(""));
  event.preventDefault();
}
