// What the browser tests ask of the gallery's page: `window.access`, plain functions over a view's root that return
// lists of complaints (empty: nothing is wrong). Colours are those that the browser computed, blended down to the paper.
window.access = (() => {
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parsed = new Map();
  /** [r, g, b, alpha] of any CSS colour. */
  const rgba = (css) => {
    if (!parsed.has(css)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = css;
      pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      parsed.set(css, [r, g, b, a / 255]);
    }
    return parsed.get(css);
  };
  const over = ([r, g, b, a], [R, G, B, A]) => {
    const alpha = a + A * (1 - a);
    if (alpha === 0) return [0, 0, 0, 0];
    const mix = (x, X) => (x * a + X * A * (1 - a)) / alpha;
    return [mix(r, R), mix(g, G), mix(b, B), alpha];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };

  /** The colours that an element paints behind its text: one, or those of a gradient. */
  const paints = (style) => {
    const inGradient = style.backgroundImage === "none" ? [] : (style.backgroundImage.match(/(?:rgba?|color|oklab|oklch|lab)\([^()]*\)|#[0-9a-f]+/gi) ?? []);
    return inGradient.length ? inGradient.map((css) => over(rgba(css), rgba(style.backgroundColor))) : [rgba(style.backgroundColor)];
  };
  /** Lowest contrast of a colour drawn in (or, `outside`, around) an element against whatever lies behind it. */
  const contrastOf = (css, element, outside = false) => {
    let pairs = [[rgba(css), [0, 0, 0, 0]]];
    for (let at = outside ? element.parentElement : element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      // behind an opaque paint nothing shows through, unless both are faint together further up
      if (pairs.some(([, back]) => back[3] < 1)) pairs = pairs.flatMap(([front, back]) => paints(style).map((paint) => [over(front, paint), over(back, paint)]));
      const opacity = Number(style.opacity);
      if (opacity < 1) pairs = pairs.map((two) => two.map(([r, g, b, a]) => [r, g, b, a * opacity]));
    }
    const canvas = rgba("canvas");
    return Math.min(...pairs.map(([front, back]) => ratio(over(front, canvas), over(back, canvas))));
  };

  const seen = (element) =>
    element.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true }) && !element.closest(".ng-offscreen, option");
  const textNodes = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (/\S/.test(node.data) && !node.parentElement.closest("style") && seen(node.parentElement)) found.push(node);
    }
    return found;
  };
  const name = (element) => `${element.tagName.toLowerCase()}.${element.className} “${(element.innerText ?? "").slice(0, 30)}”`;
  const fields = (root) => [...root.querySelectorAll("input, select, textarea")].filter(seen);

  /** Text below 4.5:1; marks of white space and edges of fields below 3:1. Nothing is asked of what is switched off. */
  const contrast = (root) => {
    const wrong = [];
    const done = new Set(); // tokens of one class look alike
    const need = (css, element, least, what, outside) => {
      const found = contrastOf(css, element, outside);
      if (found < least) wrong.push(`${what} ${found.toFixed(2)}:1 ${name(element)}`);
    };
    for (const { parentElement: element } of textNodes(root)) {
      if (element.closest(":disabled")) continue;
      const key = element.classList.contains("ng-tok") && element.className + (element.dataset.ws ? " ws" : "");
      if (key && done.has(key)) continue;
      done.add(key);
      need(getComputedStyle(element).color, element, 4.5, "text");
    }
    for (const token of root.querySelectorAll(".ng-tok[data-ws]")) {
      if (done.has(`mark ${token.className}`)) continue;
      done.add(`mark ${token.className}`);
      const { color, opacity } = getComputedStyle(token, "::before");
      const [r, g, b, a] = rgba(color);
      need(`rgb(${r} ${g} ${b} / ${a * Number(opacity)})`, token, 3, "white-space mark", token.matches(":not(.ng-flat *).ng-nl:not(.ng-nl0)"));
    }
    for (const field of fields(root)) {
      if (field.disabled || field.type === "range") continue;
      const style = getComputedStyle(field);
      need(style.color, field, 4.5, "value");
      need(getComputedStyle(field, "::placeholder").color, field, 4.5, "placeholder");
      need(style.borderTopColor, field, 3, "edge", true);
    }
    return wrong;
  };

  /** What can be reached with the Tab key, in order. */
  const stops = (root) =>
    [...root.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex], [contenteditable]")].filter(
      (element) => element.tabIndex >= 0 && !element.disabled && seen(element),
    );

  /** Names, roles and tab stops. Names are axe's, which has been set up for the whole page: that takes a while. */
  const structure = (root) => {
    const wrong = [];
    const named = (element, what) => {
      if (!axe.commons.text.accessibleText(element).trim()) wrong.push(`${what} without a name: ${name(element)}`);
    };
    if (root.getAttribute("role") !== "region") wrong.push("the view is no region");
    named(root, "region");
    for (const element of stops(root)) {
      named(element, "control");
      if (element.tabIndex > 0) wrong.push(`positive tabindex: ${name(element)}`);
      // JupyterLab's command mode eats keys of an element that does not say this of itself
      if (element.dataset.lmSuppressShortcuts !== "true") wrong.push(`keys go to the notebook: ${name(element)}`);
    }
    const composites = [...root.querySelectorAll("[role=listbox], [role=grid]")].filter(seen);
    for (const area of composites) {
      named(area, "token area");
      if (stops(area).length > (area.tabIndex >= 0 ? 0 : 1)) wrong.push(`more than one tab stop: ${name(area)}`);
      const active = area.getAttribute("aria-activedescendant");
      if (active && !area.contains(document.getElementById(active))) wrong.push(`the active token is not there: ${name(area)}`);
    }
    // rows of one picture are one tab stop together; a text that stands alone is one by itself
    const areas = [...root.querySelectorAll(".ng-tokens")].filter((area) => area.childElementCount);
    for (const group of new Set(areas.map((area) => area.closest(".ng-rows") ?? area))) {
      const own = areas.filter((area) => group.contains(area));
      if (own.filter(({ tabIndex }) => tabIndex >= 0).length !== 1) wrong.push("the token areas are not one tab stop");
    }
    for (const button of root.querySelectorAll("[role=button]:not(button), [onclick]")) wrong.push(`a button that is none: ${name(button)}`);
    if (composites.length && !root.querySelector("[aria-live=polite]")) wrong.push("no live region");
    for (const box of root.querySelectorAll(".ng-error")) if (box.getAttribute("role") !== "alert") wrong.push("an error that is no alert");
    return wrong;
  };

  /** Is the focus to be seen, and told from what surrounds it? */
  const focusRing = (element) => {
    const style = getComputedStyle(element);
    if (!element.matches(":focus-visible")) return [`no visible focus: ${name(element)}`];
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return [`no ring: ${name(element)}`];
    const inside = parseFloat(style.outlineOffset) < 0;
    const found = contrastOf(style.outlineColor, element, !inside);
    return found < 3 ? [`ring ${found.toFixed(2)}:1 ${name(element)}`] : [];
  };

  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);

  /** Sideways scroll, text outside its box, text cut off. `strict`: not even text with its whole in a title. */
  const overflow = (root, strict = false) => {
    const wrong = [];
    const edge = root.getBoundingClientRect();
    if (root.scrollWidth > root.clientWidth + 1) wrong.push(`the view is ${root.scrollWidth - root.clientWidth} px too wide`);
    const box = root.parentElement.getBoundingClientRect();
    if (edge.right > box.right + 1) wrong.push("the view is wider than its cell");
    const told = new Set();
    for (const node of textNodes(root)) {
      const element = node.parentElement;
      let block = element;
      while (/^(inline|contents)$/.test(getComputedStyle(block).display) && block !== root) block = block.parentElement;
      const range = document.createRange();
      range.selectNodeContents(node);
      const frame = block.getBoundingClientRect();
      const style = getComputedStyle(block);
      const cut = style.overflowX !== "visible" && !scrolls(block);
      if (told.has(block)) continue;
      if (cut) {
        // one line with an ellipsis, or a clamp of lines
        // a note shortens a token that stands whole in the strip; a grid's cell stands whole in its note and its panel
        if (block.closest("[role=tooltip], [role=grid]")) continue;
        const hidden = block.scrollWidth > block.clientWidth + 1 || block.scrollHeight > block.clientHeight + 2;
        if (hidden && (strict || !block.closest("[title]")) && !scrolls(block)) {
          told.add(block);
          wrong.push(`cut off: ${name(block)}`);
        }
        continue;
      }
      const hang = getComputedStyle(element).whiteSpaceCollapse === "preserve" ? 10 : 1.5; // a blank at a line's end hangs over it
      for (const rect of range.getClientRects()) {
        const sideways = rect.width > 0 && (rect.left < frame.left - hang || rect.right > frame.right + hang);
        const down = rect.bottom > frame.bottom + 5 || rect.top < frame.top - 5;
        if (sideways || (down && style.overflowY === "visible")) {
          told.add(block);
          wrong.push(`outside its box: ${name(block)}`);
          break;
        }
      }
    }
    for (const field of fields(root)) {
      const { left, right } = field.getBoundingClientRect();
      if (left < edge.left - 1 || right > edge.right + 1) wrong.push(`outside the view: ${name(field)}`);
    }
    return wrong;
  };

  /** What a person can read in a view, as one text; not what comes and goes: notes, the status, blocks of a long strip. */
  const readable = (root) =>
    textNodes(root)
      .filter(({ parentElement }) => !parentElement.closest("[role=tooltip], [role=grid], .ng-status, .ng-block:not(:only-child)"))
      .map(({ data }) => data.trim())
      .join("\n");

  return { contrast, structure, stops, focusRing, overflow, readable, seen, contrastOf };
})();
