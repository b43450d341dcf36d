/**
 * Is a cell running? Hosts do not tell a widget; JupyterLab and Notebook show it in the page: the prompt of a running or
 * waiting cell is "[*]:". In: an element of the widget. Out: true, false, or null where the notebook can't be seen (the
 * sandboxed frames of VS Code and Colab, marimo, a plain page).
 */
export function cellRuns(el: Element): boolean | null {
  const notebook = el.closest(".jp-Notebook");
  if (!notebook) return null;
  return [...notebook.querySelectorAll(".jp-InputPrompt")].some((prompt) => prompt.textContent.includes("*"));
}
