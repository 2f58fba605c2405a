"""qctl web in a real browser: each page and act at two widths, light and dark, without the mouse, and what axe finds."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from web_window import HOSTILE

from helpers import one, send

DENO = Path(sys.executable).with_name("deno")
# All pages; otherwise a few of them.
WHOLE = os.environ.get("QCTL_TEST_WEB") == "1"
PAGES = {
    "queues": "/", "queue": "/queues/orders", "messages": "/messages?queue=orders", "message": "/messages/orders/1?payload=yes",
    "dead": "/dead", "workers": "/workers", "doctor": "/doctor",
}  # fmt: skip
ACTS = {
    "pause": "/acts/pause?queue=orders", "resume": "/acts/resume?queue=orders", "test": "/acts/test?queue=orders",
    "replay": "/acts/replay?queue=orders&state=dead&status_code=500", "discard": "/acts/discard?queue=orders&ids=30,31",
}  # fmt: skip
SIZES = {1280: (1280, 900), 390: (390, 844)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here: scripts/debian_parts.sh")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


def look(browser: webdriver.Chrome, width: int, *, dark: bool) -> None:
    wide, high = SIZES[width]
    size = {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, from npm."""
    env = {**os.environ, "DENO_DIR": str(DENO.parents[1] / "deno"), "NO_COLOR": "1"}
    code = 'import axe from "npm:axe-core@4"; console.log(axe.source);'
    done = subprocess.run(
        [str(DENO), "eval", "--no-lock", code], env=env, capture_output=True, text=True, check=False, timeout=200
    )
    if done.returncode:
        pytest.skip(f"npm cannot be had here: {done.stderr.strip().partition(chr(10))[0][:150]}")
    return done.stdout


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", list(SIZES))
def test_every_page_is_seen_whole_and_axe_finds_nothing_serious(busy, windows, browser, axe, screenshots, width, dark):
    if not WHOLE and (width == 390) != dark:
        pytest.skip("make test-web runs it")
    window = windows("--allow-acts")
    look(browser, width, dark=dark)
    for name, path in (*PAGES.items(), *ACTS.items()):
        browser.get(window.url.replace("localhost", "127.0.0.1") + path)
        assert browser.title.endswith("· qctl"), browser.title
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.execute_script(axe)
        found = browser.execute_async_script("axe.run().then((r) => arguments[0](r.violations))")
        serious = [
            (one_["id"], [node["html"][:120] for node in one_["nodes"]])
            for one_ in found
            if one_["impact"] in ("serious", "critical")
        ]
        assert serious == [], (name, serious)
        browser.save_screenshot(str(screenshots / f"{name}-{width}-{'dark' if dark else 'light'}.png"))
    said = [line["message"] for line in browser.get_log("browser") if "axe" not in line["message"]]
    assert [line for line in said if "Content Security Policy" in line and "eval" not in line] == []


def test_orders_stopped_and_are_found_and_replayed_by_keyboard_alone(busy, windows, browser, conn):
    window = windows("--allow-acts")
    look(browser, 1280, dark=False)
    browser.get(window.url + "/dead")
    follow(browser, "Replay…")
    until(lambda: "will be tried again" in sentence(browser))
    browser.find_element(By.NAME, "reason").send_keys("the endpoint is back")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: "queued again" in sentence(browser))
    assert one(conn, "select detail ->> 'reason' from qctl.audit where verb = 'replay'") == "the endpoint is back"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", list(SIZES))
def test_each_act_is_done_in_the_browser(busy, windows, browser, conn, screenshots, width, dark):
    if not WHOLE and (width == 390) != dark:
        pytest.skip("make test-web runs it")
    window = windows("--allow-acts")
    look(browser, width, dark=dark)
    for verb, path in ACTS.items():
        browser.get(window.url + path)
        asked = sentence(browser)
        assert "orders" in asked
        for field in browser.find_elements(By.NAME, "reason"):
            field.send_keys("a test")
        browser.find_element(By.CSS_SELECTOR, "form.confirm button").click()
        until(lambda: browser.title.startswith("Done"))
        assert sentence(browser) != asked
        browser.save_screenshot(str(screenshots / f"done-{verb}-{width}-{'dark' if dark else 'light'}.png"))
        # Reloading what was done does nothing.
        browser.refresh()
    audited = dict(conn.execute("select verb, count(*) from qctl.audit group by 1").fetchall())
    # One was discarded before.
    assert {verb: audited.get(verb) for verb in ("pause", "resume", "replay", "discard")} == {
        "pause": 1, "resume": 1, "replay": 1, "discard": 2,
    }  # fmt: skip


def sentence(browser: webdriver.Chrome) -> str:
    return "".join(element.text for element in browser.find_elements(By.CLASS_NAME, "sentence"))


def follow(browser: webdriver.Chrome, text: str) -> None:
    """Presses Tab until a link of that text has the focus, then Enter."""
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        time.sleep(0.05)
        if browser.switch_to.active_element.text.strip() == text:
            browser.switch_to.active_element.send_keys(Keys.ENTER)
            return
    raise AssertionError(f"no {text} by keyboard")


def test_it_is_live_can_be_paused_and_runs_nothing_that_is_shown(busy, windows, browser, conn):
    window = windows()
    look(browser, 1280, dark=False)
    browser.get(window.url + "/queues/orders")
    shown = "return document.querySelector('.facts dd').textContent"
    before = browser.execute_script(shown)
    send(conn, 7)
    until(lambda: browser.execute_script(shown) != before)
    box = browser.find_element(By.ID, "live")
    box.click()
    before = browser.execute_script(shown)
    send(conn, 7)
    time.sleep(7)
    assert browser.execute_script(shown) == before
    for path in ("/messages/orders/1?payload=yes", "/dead", "/messages?queue=orders"):
        browser.get(window.url + path)
        time.sleep(0.5)
        assert "owned" not in browser.title
        assert HOSTILE.partition(">")[0] in browser.page_source.replace("&lt;", "<").replace("&gt;", ">")
    assert browser.execute_script("return document.querySelector('time').title").split(";")[0]


def until(holds, within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_refresh_leaves_alone_what_the_reader_is_doing(busy, windows, browser, conn):
    window = windows()
    look(browser, 1280, dark=False)
    browser.get(window.url + "/messages?queue=orders")
    field = browser.find_element(By.NAME, "error")
    field.send_keys("half a word")
    browser.execute_script("document.querySelector('.filter button').focus()")
    note = "return document.querySelector('#at').textContent"
    until(lambda: "you are typing" in browser.execute_script(note))
    assert browser.find_element(By.NAME, "error").get_attribute("value") == "half a word"
    browser.get(window.url + "/queues/orders")
    look(browser, 390, dark=False)
    browser.execute_script("for (const one of document.querySelectorAll('.scroll')) one.scrollLeft = 60")
    moved = "return [...document.querySelectorAll('.scroll')].map((one) => one.scrollLeft)"
    before = browser.execute_script(moved)
    assert any(before)
    shown = "return document.querySelector('.facts dd').textContent"
    depth = browser.execute_script(shown)
    send(conn, 3)
    until(lambda: browser.execute_script(shown) != depth)
    assert browser.execute_script(moved) == before


def test_a_page_that_is_not_refreshed_says_so(busy, windows, browser, conn):
    window = windows()
    look(browser, 1280, dark=False)
    browser.get(window.url + "/workers")
    window.process.terminate()
    note = "return document.querySelector('#at').textContent"
    until(lambda: "not refreshed since" in browser.execute_script(note), 20)
    assert "does not answer" in browser.execute_script(note)
