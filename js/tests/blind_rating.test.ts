// Blinded rating against a kernel that the test plays: keys answer, every answer is sent, nothing is told before its time.
import { afterEach, describe, expect, test } from "vitest";
import rating from "../src/views/blind_rating/index.js";
import type { Answers, Traits, WireFrame } from "../src/views/blind_rating/synced.js";
import { answer, FakeModel, greet, key, mountView, q, VERSION } from "./helpers.js";

const frame = (more: Partial<WireFrame> = {}): WireFrame => ({
  view: "", id: 0, item: 1, items: 3, done: [1, 0, 0],
  groups: [[{ t: [0, 1], at: 1, i: [1], x: [1] }], [{ t: [1, 0], at: 0, i: [0], x: [1] }], [{ t: [2], at: 0, i: [], x: [] }]],
  rated: [0, 2], promoted: [["<i>", 1], [" b", 0.5]],
  questions: { confidence: [3, "Sure?"], consistency: [5, "Does this group fit?"], logits: [3, "Tokens fit?"], gap: [1, "Others smaller?"], specificity: [3, "Specific?"] },
  answers: null, unblinded: false, what: null, pieces: ["<b>", " a", "c"], kinds: [0, 0, 0],
  ...more,
});
const traits = (more: Partial<Traits> = {}): Traits => ({ _version: VERSION, live: true, title: "Blinded rating", theme: "light", error: null, code: "", item: 1, frame: frame(), ...more });

function mount(more: Partial<Traits> = {}): { model: FakeModel<Traits>; el: HTMLElement } {
  return greet(mountView(rating, traits(more)));
}
/** Answers what was sent, one after the other, until nothing more comes. */
function drain(model: FakeModel<Traits>, from = 0): Answers[] {
  for (let k = from; k < model.of("answer").length; k++) answer(model, model.of("answer")[k], { finished: [1, 0, 0] });
  return model.of("answer").map(({ answers }) => answers as Answers);
}

afterEach(() => {
  document.body.replaceChildren();
});

describe("blinded rating", () => {
  test("digits answer the questions in order, and each answer is sent", () => {
    const { model, el } = mount();
    const rows = q(el, ".ng-questions");
    rows.focus();
    for (const digit of ["2", "4", "5", "1", "0", "3"]) key(rows, digit);
    const sent = drain(model);
    expect(sent).toHaveLength(6);
    expect(sent.at(-1)).toEqual({ hypothesis: "", confidence: 2, consistency: [4, 5], logits: 1, gap: 0, specificity: 3 });
    expect(q(el, ".ng-sum").textContent).toBe("scores of the groups, of 14: 10, 11");
  });

  test("a perfect answer on the tokens voids the question of the gap", () => {
    const { model, el } = mount();
    const rows = q(el, ".ng-questions");
    rows.focus();
    for (const digit of ["3", "5", "5", "3", "2"]) key(rows, digit); // the last is specificity
    expect(drain(model).at(-1)).toMatchObject({ logits: 3, gap: null, specificity: 2 });
    expect(el.querySelectorAll(".ng-void")).toHaveLength(1);
    expect(q(el, ".ng-sum").textContent).toContain("13, 13");
  });

  test("digits that a question lacks do nothing; Backspace takes back; arrows move", () => {
    const { model, el } = mount();
    const rows = q(el, ".ng-questions");
    rows.focus();
    key(rows, "7");
    expect(model.of("answer")).toHaveLength(0);
    key(rows, "1");
    key(rows, "ArrowUp");
    key(rows, "Backspace");
    expect(drain(model).map(({ confidence }) => confidence)).toEqual([1, null]);
    key(rows, "ArrowDown");
    expect(q(el, ".ng-question.ng-cur").textContent).toContain("group A");
    expect(q(el, ".ng-group.ng-asked-about").textContent).toContain("Group A");
  });

  test("Enter asks for the next feature, which the person then sees", () => {
    const { model, el } = mount();
    key(q(el, ".ng-questions"), "Enter");
    const run = model.of("run").at(-1);
    expect(run).toMatchObject({ item: 2 });
    model.set("frame", frame({ item: 2, view: run?.view ?? "", id: run?.id ?? 0 }));
    answer(model, run);
    expect(q(el, ".ng-where").textContent).toBe("feature 3 of 3");
    expect(document.activeElement).toBe(q(el, ".ng-hypothesis input"));
  });

  test("answers that were given are there again", () => {
    const answers = { hypothesis: "places", confidence: 1, consistency: [2, null], logits: null, gap: null, specificity: null };
    const { el } = mount({ frame: frame({ answers }) });
    expect((q(el, ".ng-hypothesis input") as HTMLInputElement).value).toBe("places");
    expect([...el.querySelectorAll('.ng-choice[aria-pressed="true"]')].map((one) => one.textContent)).toEqual(["1", "2"]);
  });

  test("tokens are text; nothing tells the source before it is unblinded, which takes two presses", () => {
    const { model, el } = mount();
    expect(el.querySelector(".ng-excerpt b, .ng-promoted i")).toBeNull();
    expect(q(el, ".ng-what").hidden).toBe(true);
    const button = [...el.querySelectorAll("button")].find(({ textContent }) => textContent === "Unblind…");
    button?.click();
    expect(model.of("unblind")).toHaveLength(0);
    expect(button?.textContent).toBe("Unblind with 2 left?");
    button?.click();
    model.set("frame", frame({ unblinded: true, what: { source: "neurons", feature: 7, intervals: [4, 0, 2], of: 5 } }));
    answer(model, model.of("unblind")[0], { columns: ["median"], rows: [["neurons", 3]] });
    expect(q(el, ".ng-what").textContent).toBe("neurons, feature 7");
    expect(q(el, ".ng-report").textContent).toContain("neurons3");
  });
});
