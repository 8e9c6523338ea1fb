# SPDX-License-Identifier: Apache-2.0
"""A real browser, headless, with a keyboard: Chromium, told what to do through the pipe of its DevTools protocol."""
import base64
import itertools
import json
import os
import shutil
import subprocess
import threading

import pytest

from waiting import PATIENCE, wait_until

KEYS = {"Tab": ("Tab", 9, None), "Enter": ("Enter", 13, "\r"), "Space": (" ", 32, " "), "Escape": ("Escape", 27, None)}


class Browser:
    def __init__(self, profile, log):
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if program is None:
            pytest.skip("chromium is not installed")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        script = f'exec 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-; exec "$@"'
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "bash", "-c", script, "bash", program, "--headless=new", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}",
                 "about:blank"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.input, self.buffer = ours_out, ours_in, b""
        self.numbers = itertools.count(1)
        self.answers = {}
        self.trouble = []  # what the page said that no page should: exceptions, errors on its console
        self.session = None
        self.late = threading.Timer(60 * PATIENCE, self.process.kill)  # a pipe of a killed browser ends
        self.late.start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def close(self):
        self.late.cancel()
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.input)

    # ---- the protocol: JSON documents, each ended by a zero byte

    def call(self, method, **params):
        message = {"id": next(self.numbers), "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        while message["id"] not in self.answers:
            self.receive()
        answer = self.answers.pop(message["id"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def receive(self):
        while b"\0" not in self.buffer:
            part = os.read(self.input, 1 << 20)
            assert part, "the browser has ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        if "id" in message:
            self.answers[message["id"]] = message
        elif message.get("method") == "Runtime.exceptionThrown":
            self.trouble.append(message["params"]["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.trouble.append(message["params"]["entry"]["text"])

    # ---- what a person does

    def width(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def dark(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href.startsWith(" + json.dumps(url) + ")", "the page to be loaded")

    def key(self, name, shift=False):
        key, code, text = KEYS[name]
        common = {"key": key, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def tab_to(self, label, most=60):
        """Presses Tab until what is called LABEL has the focus."""
        seen = []
        for _ in range(most):
            self.key("Tab")
            seen.append(self.focused())
            if seen[-1] == label:
                return
        raise AssertionError(f"Tab never comes to {label!r}, only to {seen}")

    # ---- what a person sees

    def eval(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression, what):
        return wait_until(lambda: self.eval(f"!!({expression})"), what=what)

    def focused(self):
        return self.eval("(e => e.getAttribute('aria-label') || (e.labels && e.labels[0] || e).textContent.trim())(document.activeElement)")

    def outlined(self):
        """Is the focus to be seen?"""
        return self.eval("getComputedStyle(document.activeElement).outlineStyle") != "none"

    def text(self):
        return self.eval("document.body.innerText")

    def shot(self, path):
        """All of the page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))
