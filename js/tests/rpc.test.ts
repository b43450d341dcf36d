import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Rpc } from "../src/core/rpc.js";
import type { Sent } from "./helpers.js";

let sent: Sent[];
let broken: boolean;
let rpc: Rpc;
const changed = vi.fn();
const greeted = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  broken = false;
  changed.mockClear();
  greeted.mockClear();
  rpc = new Rpc({
    view: "me",
    version: "1",
    send: (message) => {
      if (broken) throw new Error("Comm is closed");
      sent.push(message as Sent);
    },
    changed,
    greeted,
  });
});
afterEach(() => {
  rpc.dispose();
  vi.useRealTimers();
});

const say = (id: number, more: object = {}): void => {
  rpc.receive({ v: 1, view: "me", id, seq: 0, done: false, ...more });
};
const run = (text: string, done = vi.fn()): typeof done => {
  rpc.request("run", { text }, done);
  return done;
};
const texts = (): unknown[] => sent.filter(({ kind }) => kind === "run").map(({ text }) => text);

test("one is in flight, only the newest waits, ids grow by one", () => {
  const [a, b, c] = [run("a"), run("ab"), run("abc")];
  expect(texts()).toEqual(["a"]);
  say(1);
  expect(texts()).toEqual(["a"]);
  say(1, { seq: 1, done: true });
  expect(texts()).toEqual(["a", "abc"]);
  expect(sent.map(({ id }) => id)).toEqual([1, 2]);
  expect(sent[1]).toMatchObject({ v: 1, view: "me", kind: "run" });
  say(2);
  say(2, { seq: 1, done: true });
  expect(a).toHaveBeenCalledTimes(1);
  expect(b).not.toHaveBeenCalled();
  expect(c).toHaveBeenCalledTimes(1);
  expect(rpc.busy("run")).toBe(false);
});

test("kinds do not wait for each other", () => {
  run("a");
  rpc.request("detail", { row: 0, position: 1 }, vi.fn());
  expect(sent.map(({ kind }) => kind)).toEqual(["run", "detail"]);
});

test("no acknowledgement in 4 s is a dead kernel; an acknowledged run may take for ever", () => {
  run("a");
  vi.advanceTimersByTime(3_900);
  expect(rpc.dead).toBe(false);
  say(1);
  vi.advanceTimersByTime(600_000);
  expect(rpc.dead).toBe(false);
  say(1, { done: true });
  run("b");
  vi.advanceTimersByTime(4_001);
  expect(rpc.dead).toBe(true);
});

test("dead requests are held, and the newest is sent again when the kernel speaks", () => {
  run("a");
  vi.advanceTimersByTime(4_001);
  const lost = run("ab");
  const kept = run("abc");
  expect(texts()).toEqual(["a"]);
  rpc.probe(true);
  const hello = sent.at(-1);
  say(hello?.id ?? 0, { done: true, version: "1" });
  expect(rpc.dead).toBe(false);
  expect(greeted).toHaveBeenCalledTimes(1);
  expect(texts()).toEqual(["a", "abc"]);
  say(sent.at(-1)?.id ?? 0, { done: true });
  expect(lost).not.toHaveBeenCalled();
  expect(kept).toHaveBeenCalledTimes(1);
});

test("a newer request that waited when the kernel fell silent goes out in place of the lost one", () => {
  run("a");
  run("ab");
  vi.advanceTimersByTime(4_001);
  rpc.probe(true);
  say(sent.at(-1)?.id ?? 0, { done: true });
  expect(texts()).toEqual(["a", "ab"]);
});

test("the lost request itself is sent again where nothing newer waits", () => {
  const done = run("a");
  vi.advanceTimersByTime(4_001);
  rpc.probe(true);
  say(sent.at(-1)?.id ?? 0, { done: true });
  expect(texts()).toEqual(["a", "a"]);
  say(sent.at(-1)?.id ?? 0, { done: true });
  expect(done).toHaveBeenCalledTimes(1);
});

test("a late acknowledgement of that very request is not answered by sending it twice", () => {
  const done = run("a");
  vi.advanceTimersByTime(9_000);
  say(1);
  expect(rpc.dead).toBe(false);
  expect(texts()).toEqual(["a"]);
  say(1, { seq: 1, done: true });
  expect(done).toHaveBeenCalledTimes(1);
});

test("a comm that throws is dead at once, and nothing is lost", () => {
  broken = true;
  run("a");
  expect(rpc.dead).toBe(true);
  broken = false;
  rpc.probe(true);
  say(sent.at(-1)?.id ?? 0, { done: true });
  expect(texts()).toEqual(["a"]);
});

test("messages for other views, and things that are no messages, are ignored", () => {
  const done = run("a");
  for (const message of [null, 3, "x", {}, { view: "other", id: 1, done: true }, { id: 1, done: true }]) rpc.receive(message);
  expect(done).not.toHaveBeenCalled();
  vi.advanceTimersByTime(4_001);
  rpc.receive({ v: 1, view: "other", id: 1, seq: 0, done: false });
  expect(rpc.dead).toBe(true);
});

test("cancel names the one in flight and drops the one that waits", () => {
  run("a");
  run("b");
  say(1);
  rpc.cancel("run");
  expect(sent.at(-1)).toMatchObject({ kind: "cancel", target: 1, id: 2 });
  say(1, { done: true, cancelled: true });
  expect(texts()).toEqual(["a"]);
  expect(rpc.busy("run")).toBe(false);
});

test("probes go out at most once in ten seconds, unless asked for", () => {
  const hellos = (): number => sent.filter(({ kind }) => kind === "hello").length;
  const answer = (): void => {
    say(sent.at(-1)?.id ?? 0, { done: true });
  };
  rpc.probe();
  answer();
  rpc.probe();
  expect(hellos()).toBe(1);
  rpc.probe(true);
  answer();
  expect(hellos()).toBe(2);
  vi.advanceTimersByTime(10_001);
  rpc.probe();
  expect(hellos()).toBe(3);
});

test("there is no heartbeat: silence sends nothing", () => {
  rpc.probe(true);
  say(1, { done: true });
  const before = sent.length;
  vi.advanceTimersByTime(3_600_000);
  expect(sent).toHaveLength(before);
});

test("after dispose nothing fires", () => {
  const done = run("a");
  rpc.dispose();
  vi.advanceTimersByTime(10_000);
  say(1, { done: true });
  expect(rpc.dead).toBe(false);
  expect(done).not.toHaveBeenCalled();
});

describe("a request that streams", () => {
  const stream = (text: string): { done: ReturnType<typeof vi.fn>; progress: ReturnType<typeof vi.fn> } => {
    const [done, progress] = [vi.fn(), vi.fn()];
    rpc.request("run", { text }, done, progress);
    return { done, progress };
  };

  test("passes on what comes before its end, the acknowledgement not", () => {
    const { done, progress } = stream("a");
    say(1);
    say(1, { seq: 1, event: "x" });
    say(1, { seq: 2, event: "y" });
    expect(progress.mock.calls.map(([reply]) => (reply as { event: string }).event)).toEqual(["x", "y"]);
    expect(done).not.toHaveBeenCalled();
    say(1, { seq: 3, done: true });
    expect(done).toHaveBeenCalledTimes(1);
    say(1, { seq: 4, event: "late" });
    expect(progress).toHaveBeenCalledTimes(2);
  });

  test("gives way at once to a newer one: nothing of it comes through any more", () => {
    const first = stream("a");
    say(1);
    say(1, { seq: 1 });
    const second = stream("ab");
    expect(texts()).toEqual(["a", "ab"]);
    say(1, { seq: 2 });
    say(1, { seq: 3, done: true, superseded: true });
    expect(first.progress).toHaveBeenCalledTimes(1);
    expect(first.done).not.toHaveBeenCalled();
    say(2);
    say(2, { seq: 1 });
    expect(second.progress).toHaveBeenCalledTimes(1);
    expect(rpc.busy("run")).toBe(true);
  });

  test("before it is acknowledged only the newest waits; a flood sends no flood", () => {
    const calls = "abcdef".split("").map(stream);
    expect(texts()).toEqual(["a"]);
    say(1);
    expect(texts()).toEqual(["a", "f"]);
    say(1, { seq: 1 });
    expect(calls[0]?.progress).not.toHaveBeenCalled();
    say(2);
    say(2, { seq: 1 });
    expect(calls[5]?.progress).toHaveBeenCalledTimes(1);
  });

  test("is ended by cancel, with its number", () => {
    const { done } = stream("a");
    say(1);
    rpc.cancel("run");
    expect(sent.at(-1)).toMatchObject({ kind: "cancel", target: 1 });
    say(1, { seq: 1, done: true, cancelled: true });
    expect(done).toHaveBeenCalledTimes(1);
  });
});
