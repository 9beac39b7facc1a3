"""A report as a browser shows it: opened from a file, clicked through, read against the run.

The browser is the system's Chromium (`make browser`). Where there is none these tests are skipped;
in CI that is a failure.
"""

import os
import shutil

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def opened(reported):
    """The page, and what its console said and what it asked for besides itself."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        message = "no Chromium on this machine: nothing has opened the report; see `make browser`"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 1180, "height": 900}, color_scheme="light")
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(reported.path.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        yield page
        started.close()


def labels(page, chart):
    """What marks of a chart tell of themselves, as dictionaries."""
    texts = page.eval_on_selector_all(
        f"#chart-{chart} [aria-roledescription]", "all => all.map(x => x.ariaLabel)"
    )
    split = [[part.split(": ", 1) for part in text.split("; ")] for text in filter(None, texts)]
    return [{part[0]: part[1] for part in parts if len(part) == 2} for parts in split]


def test_it_draws_everything_in_silence_and_alone(opened, reported):
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("blob:")] == [reported.path.as_uri()]
    drawn = opened.eval_on_selector_all(
        ".chart", "all => all.map(x => [x.id, x.querySelectorAll('svg').length])"
    )
    assert len(drawn) >= 10
    assert [name for name, pictures in drawn if pictures != 1] == []


def test_figures_are_those_of_the_run(opened, reported):
    told = reported.result.to_json()["totals"]
    shown = opened.inner_text("header")
    assert f"{told['cycles'] / told['timesteps']:,.1f}" in shown
    assert f"{told['cycles']:,} cycles" in shown
    assert f"{100 * reported.result.accuracy:.2f} %" in shown


def test_units_are_drawn_as_the_run_counted_them(opened, reported):
    told = reported.result.to_json()["totals"]
    bars = {
        (bar["unit"], bar["part"]): float(bar["per cent"])
        for bar in labels(opened, "units")
        if "per cent" in bar
    }
    for unit, of in told["units"].items():
        for part, cycles in {"busy": of["busy"], **of["stalls"]}.items():
            if cycles:
                assert bars[unit, part] == pytest.approx(100 * cycles / told["cycles"], abs=1e-2)


def test_the_pointer_finds_instruction_layer_and_node(opened):
    opened.locator("#chart-timeline path[aria-roledescription=bar]").last.hover()
    tip = opened.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    for word in ("unit", "instruction", "layer", "op", "cycles"):
        assert word in tip.inner_text()


def test_keys_zoom_the_timeline(opened):
    shown = opened.locator("#chart-timeline input[type=range]").nth(1)
    whole = float(shown.input_value())
    opened.focus("#chart-timeline")
    opened.keyboard.press("+")
    opened.wait_for_function("views.timeline.signal('span') < DATA.cycles")
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("views.timeline.signal('start') > 0")
    opened.keyboard.press("0")
    opened.wait_for_function(f"views.timeline.signal('span') === {whole}")


def test_another_sample_is_looked_into(opened, reported):
    for look in reversed(reported.report.looks):
        before = int(opened.get_attribute("#chart-logits", "data-drawn"))
        opened.select_option("#sample", str(look.sample))
        opened.wait_for_selector(f"#chart-logits[data-drawn='{before + 1}']")
        ticks = len(opened.query_selector_all("#chart-raster [aria-roledescription=tick]"))
        assert ticks == look.inputs.sum() + sum(spikes.sum() for spikes in look.spikes.values())


def test_tables_open_and_hold_the_numbers(opened, reported):
    opened.click("#energy summary")
    row = opened.locator("#energy details tr", has_text="lif dest").first.inner_text()
    line = next(x for x in reported.report.profile.lines if x.text.startswith("lif"))
    assert f"{line.spent.busy / reported.report.profile.timesteps:,.1f}" in row
    cells = {
        (int(cell["label"]), int(cell["prediction"])): int(cell["samples"])
        for cell in labels(opened, "confusion")
        if "samples" in cell and "share" in cell
    }
    assert cells == dict(np.ndenumerate(reported.report.confusion))


def test_light_dark_and_paper(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(ground)
    opened.click("#theme")
    dark = opened.evaluate(ground)
    assert light != dark
    ink = "getComputedStyle(document.querySelector('#chart-units text')).fill"
    on_screen = opened.evaluate(ink)
    opened.emulate_media(media="print")
    assert opened.evaluate(ink) != on_screen  # dark ink on white paper, whatever the theme
    assert not opened.is_visible("nav")
    opened.emulate_media(media="screen")
    opened.click("#theme")
    assert opened.evaluate(ground) == light
