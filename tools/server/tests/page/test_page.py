#!/usr/bin/env python3
"""Drives the page that `qwip serve` shows in headless Chromium (Debian's package chromium; Python's standard library).

    python3 test_page.py [URL] [--screenshots DIR] [--only NAME ...]

With a URL the general checks run against that server, whatever its model says; without one against `fake_server.py`.
The checks that need special answers always run against `fake_server.py`. One line for each check; the exit status is 0
when all hold, 1 when one fails, 2 for a wrong call.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checks  # noqa: E402
import checks_fake  # noqa: E402
import checks_look  # noqa: E402
import checks_markdown  # noqa: E402
import fake_server  # noqa: E402
from cdp import Browser, Page, PageError  # noqa: E402
from fake_server import FakeServer  # noqa: E402


class Report:
    def __init__(self, folder, only):
        self.folder = folder
        self.only = only
        self.failed = 0
        self.passed = 0

    def check(self, name, run, page=None):
        if self.only and name not in self.only:
            return None
        start = time.monotonic()
        try:
            said = run()
        except Exception as error:  # every failure is one line, and the run goes on
            self.failed += 1
            print(f"FAIL  {name}: {error}", flush=True)
            if not isinstance(error, PageError):
                traceback.print_exc()
            if page and self.folder:
                try:
                    page.screenshot(os.path.join(self.folder, f"failed-{name.replace(' ', '-')}.png"))
                except PageError:
                    pass
            return None
        self.passed += 1
        more = f" ({said})" if isinstance(said, str) else ""
        print(f"ok    {name} {time.monotonic() - start:.1f} s{more}", flush=True)
        return said

    def shooter(self, page, prefix):
        def shot(name):
            if self.folder:
                page.js("Promise.all(document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity).map((a) => a.finished.catch(() => 0)))")
                page.screenshot(os.path.join(self.folder, f"{prefix}-{name}.png"))

        return shot


def quiet(page, url, expected=()):
    """No request left the origin, nothing was complained of (but refusals that a check asked for)."""
    origin = "{0.scheme}://{0.netloc}/".format(urllib.parse.urlsplit(url))
    away = [where for where, _, _ in page.requests if not where.startswith((origin, "blob:" + origin, "data:"))]
    if away:
        raise PageError(f"requests beyond {origin}: {away[:3]}")
    if len(page.requests) < 5:
        raise PageError(f"only {len(page.requests)} requests were seen")
    loud = [text for text in page.complaints if not any(part in text for part in expected)]
    if loud:
        raise PageError(f"{len(loud)} complaints: {loud[:3]}")
    return f"{len(page.requests)} requests"


def general(report, browser, url):
    page = Page(browser)
    page.media(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    page.open(url)
    try:
        page.until("document.getElementById('model')?.value", "the list of models")
    except PageError as error:
        # Nothing else can hold; the checks below say what is missing.
        print(f"note  {url}: {error}", flush=True)
    shot = report.shooter(page, "page")
    folder = tempfile.TemporaryDirectory()
    steps = [
        ("first visit", lambda: checks.first_visit(page, shot)),
        ("policy", lambda: checks.policy(page, url)),
        ("keyboard", lambda: checks.keyboard(page)),
        ("composition", lambda: checks.composition(page)),
        ("conversation", lambda: checks.conversation(page, shot)),
        ("history", lambda: checks.history(page)),
        ("regenerate", lambda: checks.regenerate(page)),
        ("edit", lambda: checks.edit(page)),
        ("settings", lambda: checks.settings(page, shot)),
        ("picker", lambda: checks.picker(page)),
        ("reload", lambda: checks.reload(page)),
        ("files", lambda: checks.files(page, folder.name)),
        ("list", lambda: checks.listed(page)),
        ("themes", lambda: checks_look.themes(page, shot)),
        ("names", lambda: checks_look.names(page)),
        ("motion", lambda: checks_look.motion(page)),
        ("chinese", lambda: checks_look.chinese(page, shot)),
        ("phone", lambda: checks_look.phone(page, shot)),
    ]
    with folder:
        for name, run in steps:
            report.check(name, run, page)
    report.check("origin and console", lambda: quiet(page, url))
    page.close()

    page = Page(browser)
    page.call("Emulation.setUserAgentOverride", {"userAgent": page.js("navigator.userAgent"), "acceptLanguage": "zh-CN,zh"})
    page.open(url)
    report.check("speaks chinese", lambda: checks_look.speaks_chinese(page), page)
    page.close()


def special(report, browser):
    report.check("texts", lambda: checks_look.texts(fake_server.FOLDER))
    server = FakeServer()
    url = server.url
    page = Page(browser)
    page.media(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    page.open(url)
    page.until("document.getElementById('model')?.value", "the models")
    shot = report.shooter(page, "fake")
    report.check("markdown", lambda: checks_markdown.markdown(page), page)
    report.check("growing", lambda: checks_markdown.growing(page, [fake_server.ANSWER, fake_server.CHINESE, fake_server.HOSTILE]), page)
    report.check("thinking", lambda: checks_fake.thinking(page, shot), page)
    report.check("stop", lambda: checks_fake.stop(page, server), page)
    report.check("background", lambda: checks_fake.background(page), page)
    report.check("scrolling", lambda: checks_fake.scrolling(page), page)
    report.check("spoken", lambda: checks_fake.spoken(page), page)
    report.check("hostile", lambda: checks_fake.hostile(page, shot), page)
    report.check("big", lambda: checks_fake.big(page), page)
    report.check("failures", lambda: checks_fake.failures(page, shot), page)
    other = Page(browser, context=page.context)
    report.check("two tabs", lambda: checks_fake.two_tabs(page, other, url), other)
    other.close()
    server = report.check("server gone", lambda: checks_fake.gone(page, FakeServer, server), page) or server
    report.check("delete all", lambda: checks_fake.delete_all(page), page)
    # The words of a server that has gone differ with the moment.
    refusals = (
        "status of 400", "net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE",
        "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_SOCKET_NOT_CONNECTED", "net::ERR_CONNECTION_CLOSED",
        "net::ERR_CONNECTION_ABORTED",
    )
    report.check("origin and console of the fake", lambda: quiet(page, url, refusals))
    page.close()
    server.close()

    locked = FakeServer(key="secret-7")
    page = Page(browser)
    report.check("key", lambda: checks_fake.key(page, locked.url, "secret-7"), page)
    report.check("origin and console with a key", lambda: quiet(page, locked.url, ("status of 401",)))
    page.close()
    locked.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="the server's address, such as http://127.0.0.1:8080/")
    parser.add_argument("--screenshots", metavar="DIR", help="where to put pictures of the page")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="run these checks alone")
    arguments = parser.parse_args()
    if arguments.screenshots:
        os.makedirs(arguments.screenshots, exist_ok=True)
    report = Report(arguments.screenshots, arguments.only)
    own = None if arguments.url else FakeServer()
    url = arguments.url or own.url
    try:
        browser = Browser()
    except PageError as error:
        print(f"FAIL  browser: {error}", flush=True)
        return 1
    try:
        general(report, browser, url if url.endswith("/") else url + "/")
        special(report, browser)
    finally:
        browser.close()
        if own:
            own.close()
    print(f"{report.passed} checks hold, {report.failed} fail", flush=True)
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
