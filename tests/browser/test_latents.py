"""A dictionary behind the heatmap, in a real JupyterLab: choose it, ask a token, add latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.model

LIVE = """
import neuroglass as ng
model = ng.load()
sae = ng.SAE.load("zoo/A-8x", model)
w = ng.heatmap(model, "Vitamin C 0.63 mg; Niacin 0.16 mg", bases=[sae])
w
"""


def test_a_token_is_asked_for_its_latents(lab_page: Page, lab: labs.Lab) -> None:
    page = lab_page
    path = labs.write_notebook(lab.root / "latents.ipynb", [LIVE])
    labs.open_notebook(page, lab, path)
    labs.run_all(page)
    root = page.locator(".ng-heatmap").first
    root.locator(".ng-tok").first.wait_for()

    def rows() -> list[str]:
        return list(root.locator(".ng-row-label").all_text_contents())

    assert all(label.startswith("neurons.0 / ") for label in rows())
    root.locator("select.ng-site").select_option("A-8x")
    labs.wait_until("latents are shown", lambda: all(r.startswith("A-8x / ") for r in rows()))
    assert root.locator(".ng-field-layer").is_hidden()
    before = rows()
    root.locator('.ng-row[data-row="0"] .ng-tok', has_text="mg").first.click()
    chips = root.locator(".ng-chip:not([disabled])")
    chips.first.wait_for()
    added = int(str(chips.first.locator("b").text_content()))
    chips.first.click()
    labs.wait_until("the latent has a row", lambda: rows() == [*before, f"A-8x / {added}"])
    # what the browser shows is what the dictionary says
    values = labs.kernel_json(
        page,
        f"""(lambda run: sae.encode_dense(run["neurons.0"][0], [{added}])[:, 0].tolist())(
            model.run(w.text, sites=["neurons.0"], logits=False))""",
    )
    shaded = root.locator(f'.ng-row[data-row="{len(before)}"] .ng-tok').evaluate_all(
        "tokens => tokens.map(t => getComputedStyle(t).backgroundColor !== 'rgba(0, 0, 0, 0)')"
    )
    assert len(shaded) == len(values)
    strong = [v > 0.2 * max(values) for v in values]
    assert any(strong)
    assert all(s for s, v in zip(shaded, strong, strict=True) if v)
    assert labs.kernel_json(page, "w.site") == "A-8x"
    root.locator("input.ng-features").fill("4096")
    assert "0 to 4095" in str(root.locator(".ng-problem").text_content())
    root.screenshot(path=str(lab.root / "latents.png"))
    labs.close_notebook(page, lab)


def test_rows_are_kept_moved_and_let_go(lab_page: Page, lab: labs.Lab) -> None:
    page = lab_page
    path = labs.write_notebook(lab.root / "kept.ipynb", [LIVE])
    labs.open_notebook(page, lab, path)
    labs.run_all(page)
    root = page.locator(".ng-heatmap").first
    root.locator(".ng-tok").first.wait_for()

    def rows() -> list[str]:
        return list(root.locator(".ng-row-label").all_text_contents())

    def press(row: int, name: str) -> None:
        root.locator(f'.ng-row[data-row="{row}"]').get_by_label(name, exact=False).first.click()

    first = rows()
    root.locator("select.ng-add").select_option("surprise")
    labs.wait_until("surprise is shown", lambda: rows() == ["surprise (nats)", *first])
    press(2, "keep")
    kept = ["surprise (nats)", first[1]]
    labs.wait_until("a neuron is kept", lambda: rows() == [*kept, first[0], first[2]])
    press(1, "move up")
    labs.wait_until("it moved up", lambda: rows()[:2] == kept[::-1])
    root.locator("select.ng-site").select_option("A-8x")
    labs.wait_until(
        "kept rows stay",
        lambda: rows()[:2] == kept[::-1] and all(r.startswith("A-8x") for r in rows()[2:]),
    )
    assert labs.kernel_json(page, "w.locked") == [first[1].replace(" ", ""), "surprise"]
    root.locator("textarea.ng-text").fill("Niacin 0.63 mg")
    labs.wait_until(
        "typing goes on",
        lambda: root.locator('.ng-row[data-row="0"] .ng-tok').last.text_content() == " mg",
    )
    root.screenshot(path=str(lab.root / "kept.png"))
    press(0, "keep")  # of another site: it goes
    labs.wait_until("it was let go", lambda: rows()[0] == "surprise (nats)")
    press(0, "remove")
    labs.wait_until("all of one site", lambda: all(r.startswith("A-8x / ") for r in rows()))
    labs.close_notebook(page, lab)
