"""Readers of the dashboard in a real headless Chromium, and when they see a page, its own content and its charts."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, Page, sync_playwright

from panel_app.screenshots import launch

# Before anything of the page runs: note paints, the class by which a page says that its content is there, and charts.
_WATCH = """
window.seen = {fcp: null, lcp: null, content: null, drawn: null, shown: {}}
const painted = (name, type) => new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (e.name !== 'first-paint') seen[name] = e.startTime
}).observe({type, buffered: true})
painted('fcp', 'paint')
painted('lcp', 'largest-contentful-paint')
const roots = (node) => {
  const own = [...node.querySelectorAll('*')].map((e) => e.shadowRoot).filter((r) => r)
  return own.flatMap((root) => [root, ...roots(root)])
}
// Own content: a piece that an answer has filled, in a frame that is painted; the page may be sent with it.
const filled = () => {
  const page = document.documentElement
  if (!page || !page.classList.contains('answered') || !document.body) return false
  const boxes = [document, ...roots(document)].flatMap((root) => [...root.querySelectorAll('.live')])
  return boxes.some((box) => box.offsetHeight > 40 && box.querySelector('h1, h2'))
}
const look = () => {
  const doc = window.Bokeh && window.Bokeh.documents && window.Bokeh.documents[0]
  const live = document.documentElement && document.documentElement.classList.contains('loaded')
  if (seen.content === null && filled()) {
    requestAnimationFrame(() => setTimeout(() => { seen.content ??= performance.now() }))
  }
  if (live && seen.content !== null && seen.drawn === null && doc.is_idle) seen.drawn = performance.now()
  if (seen.drawn === null) setTimeout(look, 20)
}
look()
window.await_text = (text) => {
  window.awaited = text
  if (window.watching) return
  window.watching = roots(document).filter((r) => r.querySelector('.live')).map((box) => {
    const check = () => {
      const text = window.awaited
      if (seen.shown[text] || !box.textContent.includes(text)) return
      seen.shown[text] = -1
      requestAnimationFrame(() => { seen.shown[text] = Date.now() })
    }
    const observer = new MutationObserver(check)
    observer.observe(box, {subtree: true, childList: true, characterData: true})
    return observer
  })
}
"""


@dataclass(frozen=True, slots=True)
class Paint:
    """Milliseconds after navigation began: first and largest contentful paint, own content; live, with charts drawn."""

    first: float
    largest: float
    content: float
    drawn: float


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A fresh browser: nothing is cached."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            yield browser
        finally:
            browser.close()


def visit(browser: Browser, url: str) -> tuple[Page, Paint]:
    """Open a page as a reader who was never here, and wait until all of it is drawn."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(_WATCH)
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.seen.drawn !== null && window.seen.fcp !== null", timeout=60_000, polling=50)
    page.wait_for_timeout(300)
    seen = page.evaluate("window.seen")
    return page, Paint(seen["fcp"], seen["lcp"] or seen["fcp"], seen["content"], seen["drawn"])


def expect_text(page: Page, text: str) -> None:
    """From now on note when this text is shown."""
    page.evaluate("text => window.await_text(text)", text)


def shown_at(page: Page, text: str, within: float = 20.0) -> float | None:
    """Wall clock at which it was painted, seconds since 1970; None where it was not."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        at = page.evaluate("text => window.seen.shown[text] || null", text)
        if at is not None and at > 0:
            return float(at) / 1000
        page.wait_for_timeout(20)
    return None
