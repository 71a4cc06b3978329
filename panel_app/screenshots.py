"""`python -m panel_app.screenshots OUT_DIR [--url URL]`: every page of a running dashboard, in both themes."""

import argparse
import re
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from forewarn.config.settings import Settings

CHROMIUM = Path("/usr/bin/chromium")
WIDTH, HEIGHT = 1440, 900
PAGES = {
    "now": "",
    "timeline": "timeline?span=30d",
    "ledger": "ledger",
    "models": "models",
    "data": "data",
    "settings": "settings",
}


def launch(playwright: object) -> Browser:
    """The system's Chromium, headless; raises FileNotFoundError where there is none."""
    if not CHROMIUM.exists():
        raise FileNotFoundError(f"{CHROMIUM} is not there; install it: apt-get install chromium")
    browser: Browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])  # type: ignore[attr-defined]
    return browser


def wait_until_drawn(page: Page) -> None:
    """Return when the page shows an answer (or says why there is none) and its charts are drawn."""
    page.wait_for_selector("html.loaded.heard", timeout=30_000, state="attached")
    page.wait_for_timeout(1200)


def shoot(url: str, folder: Path, width: int = WIDTH) -> list[Path]:
    """Take a picture of each page in each theme; the risk page shows the first incident that is linked."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for theme in themes:
            context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
            context.add_cookies([{"name": "forewarn_theme", "value": theme, "url": url}])
            page = context.new_page()
            for name, path in (*PAGES.items(), ("risk", _risk_path(page, url))):
                if path is None:
                    continue
                page.goto(f"{url.rstrip('/')}/{path}")
                wait_until_drawn(page)
                target = folder / f"{name}-{theme}.png"
                page.screenshot(path=str(target), full_page=True)
                taken.append(target)
            context.close()
        browser.close()
    return taken


def _risk_path(page: Page, url: str) -> str | None:
    for path in ("", "ledger"):
        page.goto(f"{url.rstrip('/')}/{path}")
        wait_until_drawn(page)
        for link in page.locator("a[href^='risk?']").all():
            found = re.fullmatch(r"risk\?(incident|episode)=[0-9a-f-]{36}", link.get_attribute("href") or "")
            if found:
                return found[0]
    return None


def main() -> int:
    """Exit code 0, or 1 with the reason where the dashboard or Chromium is away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--url", default=None, help="address of a running dashboard (default: FOREWARN_PUBLIC_URL)")
    arguments = parser.parse_args()
    url = arguments.url or Settings().public_url
    try:
        taken = shoot(url, arguments.out_dir)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    except PlaywrightError as error:
        print(f"No picture of {url}: {error.message.splitlines()[0]}. Is `forewarn up` running?", file=sys.stderr)
        return 1
    for path in taken:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
