"""What is shipped can be built and used by somebody who has no Node."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging import tree

BUNDLE_LIMIT = 60_000  # bytes; every widget in a notebook carries its module's text

USE = """
import sys
sys.path.insert(0, {target!r})
import neuroglass as ng
from pathlib import Path
assert Path(ng.__file__).is_relative_to({target!r}), ng.__file__
view = ng.TokenHeatmap(["a", "b"], [0.1, 0.2])
assert len(str(view._esm)) > 1000 and len(str(view._css)) > 100
print(ng.__version__)
"""


def run(command: list[str], cwd: Path, env: dict[str, str], seconds: float = 280) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def pip(*args: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *args]


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def check_wheel(wheel: Path, target: Path, env: dict[str, str]) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "static/browser.js",
        "static/browser.css",
        "static/dashboard.js",
        "static/dashboard.css",
        "static/feature_map.js",
        "static/feature_map.css",
        "static/head_dashboard.js",
        "static/head_dashboard.css",
        "static/blind_rating.js",
        "static/blind_rating.css",
        "static/site.js",
        "static/heatmap.js",
        "static/heatmap.css",
        "static/lab.js",
        "static/lab.css",
        "static/logit_lens.js",
        "static/logit_lens.css",
        "py.typed",
        "__init__.py",
        *(
            f"zoo/{m}/{f}"
            for m in ("A", "B", "A-gelu")
            for f in ("model.safetensors", "tokenizer.json")
        ),
        *(f"zoo/{d}/sae_weights.safetensors" for d in ("A-1x", "A-8x", "A-8x-relu")),
        *(
            f"zoo/stores/{s}/{f}"
            for s in ("A-8x", "A-1x", "A-neurons")
            for f in ("meta.json", "examples.parquet", "examples.starts.npy")
        ),
        "zoo/stores/tokens/ids.npy",
        "zoo/texts.json",
    ):
        assert f"neuroglass/{wanted}" in names
    assert wheel.stat().st_size < 50e6
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    strangers = [name for name in names if not name.startswith(("neuroglass/", "neuroglass-"))]
    assert not strangers
    run(pip("install", "--no-deps", "--target", str(target), str(wheel)), wheel.parent, env)
    # -I: no PYTHONPATH and no current folder; the dependencies come from the running environment
    version = run([sys.executable, "-I", "-c", USE.format(target=str(target))], wheel.parent, env)
    assert f"neuroglass-{version.strip().splitlines()[-1]}-" in wheel.name


@pytest.fixture
def no_node(tmp_path: Path) -> dict[str, str]:
    return tree.environment_without_node(tmp_path / "programs")


@pytest.fixture
def bundle() -> list[Path]:
    built = sorted((tree.ROOT / tree.STATIC).glob("*.js"))
    if not built:
        pytest.fail("the front end is not built: python hatch_build.py", pytrace=False)
    return built


@pytest.mark.usefixtures("bundle")
def test_sdist_carries_the_bundle_and_installs_without_node(
    tmp_path: Path, no_node: dict[str, str]
) -> None:
    source = tree.copy(tmp_path / "source", bundle=True)
    build = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(source)]
    log = run(build, tmp_path, no_node)
    sdist = one(tmp_path, "neuroglass-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    shipped = {
        str(path)
        for path in tree.files()
        if path.parts[0] in {"js", "widgets", "tests", "notebooks"}
    }
    alone = {"hatch_build.py", "pyproject.toml", "Makefile", "constraints.txt", "PKG-INFO"}
    texts = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
    views = ("browser", "heatmap", "logit_lens")
    static = {str(tree.STATIC / f"{view}.{kind}") for view in views for kind in ("js", "css")}
    assert not (shipped | alone | texts | static) - names
    log += run(pip("wheel", "-v", "--no-deps", "-w", str(tmp_path), str(sdist)), tmp_path, no_node)
    assert "nodejs" not in log  # it was neither there nor fetched
    check_wheel(one(tmp_path, "neuroglass-*.whl"), tmp_path / "target", no_node)


@pytest.mark.timeout(900)  # fetches a Node of 61 MB
def test_source_tree_installs_without_node(tmp_path: Path, no_node: dict[str, str]) -> None:
    source = tree.copy(tmp_path / "source", bundle=False)
    log = run(pip("wheel", "-v", "--no-deps", "-w", str(tmp_path), "."), source, no_node, 800)
    if "nodejs" not in log:
        pytest.fail("a Node was found although it should be hidden")
    check_wheel(one(tmp_path, "neuroglass-*.whl"), tmp_path / "target", no_node)


def test_bundles_stay_within_their_size(bundle: list[Path]) -> None:
    sizes = {path.name: path.stat().st_size for path in bundle}
    assert max(sizes.values()) <= BUNDLE_LIMIT, sizes
