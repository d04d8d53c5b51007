"""The pages of `nohype serve` in a real browser, while the real engine runs a campaign and after."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_laboratory import Laboratory
from headless_browser import Browser
from processes import bound_to_us
from test_campaign_engine import TRIALS

from harness.wait import until

# What a reader who does not see, or has no mouse, depends on.
UNNAMED = """
[...document.querySelectorAll('a, summary, progress')].filter(e => !(e.textContent.trim() || e.ariaLabel)).length
+ [...document.querySelectorAll('table')].filter(e => !e.querySelector('th[scope]')).length
+ (document.documentElement.lang ? 0 : 1) + Math.abs(document.querySelectorAll('h1').length - 1)
+ (document.querySelector('main') ? 0 : 1)
"""
# The contrast of text and its ground by WCAG 2 (1.4.3), of all elements that have text of their own; the least.
CONTRAST = """
(() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const found = parts(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const shown = [...document.body.querySelectorAll('*')]
    .filter(e => own(e) && e.checkVisibility() && !e.closest('svg, noscript, script'));
  return Math.min(...shown.map(e => {
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()
"""


@pytest.fixture
def base(laboratory: Laboratory) -> Iterator[str]:
    """A server's address, without the last slash."""
    argv = [sys.executable, "-c", "from harness.cli import main; main()", "serve", "--listen", "127.0.0.1:0"]
    env = {**os.environ, "COLUMNS": "200"}
    process = subprocess.Popen(bound_to_us(argv), stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr
    try:
        found = re.search(r"(http://\S+)/ ", process.stderr.readline())
        assert found
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as found:
        yield found


def test_a_page_follows_a_running_campaign_by_itself(laboratory: Laboratory, base: str, browser: Browser) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        browser.open(f"{base}/campaigns/{campaign}")
        browser.ask("window.marked = true")
        text = browser.ask("document.querySelector('main').innerText")
        assert "running" in text
        assert "alpha" in text
    # It ends as a page of a campaign that has ended, without having been loaded anew.
    ended = f"document.querySelector('main').innerText.includes('{TRIALS} of {TRIALS} trials, none failed')"
    until(lambda: browser.ask(ended), seconds=120, what="end", interval=0.2)
    assert process.wait(30) == 0
    assert browser.ask("window.marked")
    asked = len(browser.asked)
    browser.open(f"{base}/")
    assert browser.ask("document.querySelector('[data-live]')") is None
    assert len(browser.asked) == asked + 3  # the page and two style sheets; nothing asks on
    assert browser.complaints == []


def test_pages_are_for_all_screens_and_readers(laboratory: Laboratory, base: str, browser: Browser) -> None:
    done = laboratory.run(faults=[{"method": "run", "calls": [2], "error": "WorkloadError"}])
    campaign = done.stdout.split()[0]
    trial = f"/campaigns/{campaign}/trials/{campaign}.b01.t01"
    report = f"/campaigns/{campaign}/comparison"
    pages = ["/", f"/campaigns/{campaign}", trial, f"/campaigns/{campaign}/artifacts/", report]
    grounds = set()
    for address in pages:
        for width, dark in ((1200, False), (360, True)):
            browser.look(width, dark=dark)
            browser.open(base + address)
            assert browser.ask("document.documentElement.scrollWidth") <= width, address
            assert browser.ask(UNNAMED) == 0, address
            assert browser.ask(CONTRAST) >= 4.5, address
            grounds.add((dark, browser.ask("getComputedStyle(document.body).backgroundColor")))
    assert len(grounds) == 2
    assert browser.complaints == []
    elsewhere = [address for address in browser.asked if not address.startswith((base, "about:"))]
    assert elsewhere == []


def test_without_scripts_a_running_campaigns_page_is_loaded_anew(
    laboratory: Laboratory, base: str, browser: Browser
) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        browser.send("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(f"{base}/campaigns/{campaign}")
        assert browser.ask("document.querySelector('meta[http-equiv=refresh]').content") == "10"
        process.terminate()
    process.communicate()
