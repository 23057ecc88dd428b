"""The C library through ctypes: python3 smoke_test.py PATH_TO_LIBQWIP tools/builtin/builtin.gguf [unittest's arguments]

What it asks of the model is little: the built-in one knows hardly anything. What it asks of the library is that every call
does what qwip.h says, and that misuse gives a status and a message.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import qwip
from qwip import Kind, Memory, Status

LIBRARY: qwip.Library
LIBRARY_PATH: str
MODEL_PATH = ""
HELLO = [{"role": "user", "content": "Hello!"}]
GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
WEATHER = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}},
                   "required": ["city"], "additionalProperties": False}}}]


class Case(unittest.TestCase):
    def setUp(self):
        self.model = LIBRARY.model(MODEL_PATH, threads=2)
        self.addCleanup(self.model.close)
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def session(self, **options) -> qwip.Session:
        session = self.model.session(**options)
        self.addCleanup(session.close)
        return session

    def request(self, session: qwip.Session, *arguments, **options) -> qwip.Request:
        request = session.request(*arguments, **options)
        self.addCleanup(request.close)
        return request

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def fails(self, status, do, *arguments, **options) -> str:
        """`do` must raise QwipError with this status, or one of these, and a text of one line, which is returned."""
        with self.assertRaises(qwip.QwipError) as caught:
            do(*arguments, **options)
        error = caught.exception
        self.assertIn(error.status, status if isinstance(status, tuple) else (status,), str(error))
        message = error.args[0]
        self.assertTrue(message and "\n" not in message, repr(message))
        return message


class Answers(Case):
    def test_an_answer(self):
        answer = self.session().answer([{"role": "user", "content": "How do I quantize a model?"}], sampler=GREEDY)
        self.assertEqual(answer["message"]["role"], "assistant")
        self.assertIn("qwip", answer["message"]["content"])
        self.assertEqual(answer["finish_reason"], "stop")
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertGreater(usage["completion_tokens"], 0)

    def test_events_come_in_order_and_make_up_the_answer(self):
        request = self.request(self.session(), HELLO, sampler=GREEDY).start()
        events = list(request.events())
        kinds = [event.kind for event in events]
        self.assertEqual(kinds[-2:], [Kind.USAGE, Kind.FINISH])
        self.assertEqual(events[-1].data, "stop")
        texts = [i for i, kind in enumerate(kinds) if kind == Kind.TEXT]
        self.assertTrue(texts)
        for i in (i for i, kind in enumerate(kinds) if kind == Kind.PROGRESS):
            self.assertLess(i, texts[0])
            self.assertLessEqual(events[i].json()["done"], events[i].json()["total"])
        result = request.result()
        self.assertEqual("".join(events[i].data for i in texts), result["message"]["content"])
        self.assertEqual(events[-2].json(), result["usage"])
        self.fails(Status.DONE, request.poll, 0)
        request.wait(0)

    def test_callbacks_give_the_same_events_on_another_thread(self):
        polled = [event for event in self.session().stream(HELLO, sampler=GREEDY) if event.kind == Kind.TEXT]
        heard, threads = [], set()

        def hear(event):
            threads.add(threading.get_ident())
            heard.append(event)

        self.request(self.session(), HELLO, sampler=GREEDY).start(hear).wait(60_000)
        self.assertEqual("".join(e.data for e in heard if e.kind == Kind.TEXT), "".join(e.data for e in polled))
        self.assertEqual(heard[-1].kind, Kind.FINISH)
        # Who polls late gets pieces that were joined; a callback hears them one by one.
        self.assertGreater(sum(event.kind == Kind.TEXT for event in heard), 1)
        self.assertNotIn(threading.get_ident(), threads)

    def test_a_callback_that_raises_cancels_and_wait_raises_it(self):
        def hear(event):
            raise KeyError("mine")

        request = self.request(self.session(), HELLO, max_tokens=400, ignore_eos=True).start(hear)
        with self.assertRaises(KeyError):
            request.wait(60_000)
        self.assertEqual(request.result()["finish_reason"], "cancelled")

    def test_a_second_turn_takes_up_what_the_session_holds(self):
        session = self.session()
        first = session.answer(HELLO, sampler=GREEDY)
        turns = HELLO + [first["message"], {"role": "user", "content": "What is qwip?"}]
        usage = session.answer(turns, sampler=GREEDY)["usage"]
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], 0)

    def test_a_seed_gives_the_same_answer_twice(self):
        once, again = (self.session().answer(HELLO, sampler={"temperature": 1.5, "seed": 7}, max_tokens=40) for _ in "ab")
        self.assertEqual(once["message"], again["message"])

    def test_limits_and_stops(self):
        session = self.session()
        answer = session.answer(HELLO, max_tokens=3, ignore_eos=True)
        self.assertEqual((answer["finish_reason"], answer["usage"]["completion_tokens"]), ("length", 3))
        whole = session.answer(HELLO, sampler=GREEDY)["message"]["content"]
        word = whole.split()[2]
        cut = session.answer(HELLO, sampler=GREEDY, stop=[word])
        self.assertEqual((cut["message"]["content"], cut["finish_reason"]), (whole[: whole.index(word)], "stop"))

    def test_thinking_is_told_from_the_answer(self):
        message = self.session().answer([{"role": "user", "content": "What is 2 + 2?"}], thinking=True, sampler=GREEDY)["message"]
        self.assertTrue(message["reasoning_content"])
        self.assertNotIn("think>", message["content"])

    def test_a_budget_closes_thinking_that_the_prompt_has_opened(self):
        prompt = "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n<think>\n"
        said = self.session().answer(prompt=prompt, sampler=GREEDY, thinking_budget=0, max_tokens=40)["message"]["content"]
        self.assertEqual(said.count("</think>"), 1)
        self.assertLess(said.index("</think>"), 200)

    def test_greedy_logits_say_the_same_as_a_request(self):
        prompt = self.model.apply_template(HELLO, thinking=False)
        asked = self.session().answer(prompt=prompt, sampler=GREEDY, max_tokens=16)["message"]["content"]
        session, said = self.session(), []
        read = self.model.tokenize(prompt, qwip.TOKENIZE_SPECIAL)
        session.decode(read)
        self.assertEqual(session.tokens(), read)
        sampler = self.model.sampler(**GREEDY)
        self.addCleanup(sampler.close)
        for _ in range(16):
            logits = session.logits()
            token = max(range(len(logits)), key=logits.__getitem__)
            self.assertEqual(sampler.sample(session), token)
            if self.model.is_end(token):
                break
            said.append(token)
            session.decode([token])
        self.assertEqual(self.model.detokenize(said), asked)


class Cancelling(Case):
    def test_a_request_is_cancelled_and_the_session_goes_on(self):
        session = self.session()
        request = self.request(session, HELLO, ignore_eos=True, max_tokens=1500).start()
        while request.poll(60_000).kind != Kind.TEXT:
            pass
        asked = time.monotonic()
        request.cancel()
        request.wait(60_000)
        self.assertLess(time.monotonic() - asked, 2)  # 50 ms are promised; CI machines are busy
        last = None
        for last in request.events():
            pass
        self.assertEqual(last, (Kind.FINISH, "cancelled"))
        self.assertEqual(session.answer(HELLO, sampler=GREEDY)["finish_reason"], "stop")

    def test_leaving_the_loop_cancels(self):
        session = self.session()
        stream = session.stream(HELLO, ignore_eos=True, max_tokens=1500)
        next(stream)
        stream.close()
        self.assertEqual(session.answer(HELLO, max_tokens=2)["usage"]["completion_tokens"], 2)

    def test_a_callback_may_cancel_by_what_it_returns(self):
        heard = []
        request = self.request(self.session(), HELLO, ignore_eos=True, max_tokens=1500)
        request.start(lambda event: heard.append(event) or event.kind == Kind.TEXT).wait(60_000)
        self.assertEqual(request.result()["finish_reason"], "cancelled")
        # After the first "stop" there may be what was ready, but not an answer of 1500 tokens.
        self.assertLess(sum(event.kind == Kind.TEXT for event in heard), 50)

    def test_a_long_prompt_is_cancelled_from_another_thread(self):
        session = self.session()
        tokens = self.model.tokenize("one two three four five six seven eight. " * 150)[:1900]
        timer = threading.Timer(0.02, session.cancel)
        timer.start()
        try:
            session.decode(tokens)  # a fast machine may be done before
        except qwip.QwipError as error:
            self.assertEqual(error.status, Status.CANCELLED)
        timer.join()
        session.truncate(0)
        session.decode(tokens[:8])
        self.assertEqual(len(session), 8)

    def test_progress_may_end_a_load(self):
        self.fails(Status.CANCELLED, LIBRARY.model, MODEL_PATH, progress=lambda done, total: True, prefault=True)
        seen = []
        LIBRARY.model(MODEL_PATH, progress=lambda done, total: seen.append((done, total)), prefault=True).close()
        self.assertEqual(seen[-1][0], seen[-1][1])


class ToolsAndForms(Case):
    def setUp(self):
        super().setUp()
        self.forms = LIBRARY.has_feature("constrain")

    def test_tools(self):
        ask = [{"role": "user", "content": "What is the weather in Paris?"}]
        session = self.session()
        if not self.forms:
            self.fails(Status.UNSUPPORTED, session.answer, ask, tools=WEATHER, tool_choice="required")
            return
        request = self.request(session, ask, tools=WEATHER, tool_choice="required", sampler=GREEDY, max_tokens=200).start()
        calls = [event.json() for event in request.events() if event.kind == Kind.TOOL_CALL]
        result = request.result()
        self.assertEqual(result["finish_reason"], "tool_calls")
        self.assertEqual(calls[0]["function"]["name"], "get_weather")
        self.assertEqual(list(json.loads(calls[0]["function"]["arguments"])), ["city"])
        self.assertEqual(result["message"]["tool_calls"][0]["id"], calls[0]["id"])
        # The result goes back, and an answer comes.
        turns = ask + [result["message"], {"role": "tool", "tool_call_id": calls[0]["id"], "content": "18 degrees"}]
        answer = session.answer(turns, tools=WEATHER, tool_choice="none", sampler=GREEDY, max_tokens=60)
        self.assertTrue(answer["message"]["content"])

    def test_tools_are_in_the_prompt(self):
        self.assertIn("get_weather", self.model.apply_template(HELLO, tools=WEATHER))

    def test_a_schema_holds(self):
        schema = {"type": "object", "additionalProperties": False, "required": ["city", "warm", "people"], "properties": {
            "city": {"type": "string", "maxLength": 12}, "warm": {"type": "boolean"},
            "people": {"type": "integer", "minimum": 0, "maximum": 99}}}
        ask = dict(messages=[{"role": "user", "content": "Paris as JSON"}], json_schema=schema)
        if not self.forms:
            self.fails(Status.UNSUPPORTED, self.session().answer, **ask)
            return
        for seed in range(3):
            answer = self.session().answer(sampler={"temperature": 1.0, "seed": seed}, max_tokens=200, **ask)
            value = json.loads(answer["message"]["content"])
            self.assertEqual(set(value), {"city", "warm", "people"})
            self.assertIsInstance(value["warm"], bool)
            self.assertIn(value["people"], range(100))

    def test_a_grammar_holds(self):
        if not self.forms:
            self.fails(Status.UNSUPPORTED, self.session().answer, HELLO, grammar='start: "yes" | "no"')
            return
        answer = self.session().answer(HELLO, grammar='start: "yes" | "no"', max_tokens=20)
        self.assertIn(answer["message"]["content"], ("yes", "no"))


class SavedAndShared(Case):
    def test_a_session_is_saved_and_restored_bit_for_bit(self):
        tokens = self.model.tokenize("Hello, what is qwip and what does it do?")
        session, other = self.session(), self.session()
        session.decode(tokens)
        session.save(self.path("session"))
        self.assertEqual(os.listdir(self.folder), ["session"])
        other.restore(self.path("session"))
        self.assertEqual(len(other), len(tokens))
        for one in (session, other):
            one.decode(tokens[:1])
        self.assertEqual(session.logits(), other.logits())
        self.fails(Status.NOT_FOUND, other.restore, self.path("nothing"))
        with open(self.path("session"), "r+b") as file:
            file.truncate(100)
        self.fails(Status.IO, self.session().restore, self.path("session"))

    def test_forks_and_truncation(self):
        tokens = self.model.tokenize("one two three four five six seven eight nine ten")
        session = self.session()
        session.decode(tokens)
        expected = session.logits()
        fork = session.fork()
        self.addCleanup(fork.close)
        fork.decode(tokens[:2])
        self.assertEqual((len(session), len(fork)), (len(tokens), len(tokens) + 2))
        session.truncate(len(tokens) - 1)
        session.decode(tokens[-1:])
        self.assertEqual(session.logits(), expected)

    def test_sessions_and_requests_outlive_their_model(self):
        session, sampler = self.session(), self.model.sampler(**GREEDY)
        self.addCleanup(sampler.close)
        self.model.close()
        self.assertEqual(session.answer(HELLO, sampler=sampler)["finish_reason"], "stop")
        self.fails(Status.INVALID_HANDLE, self.model.info)

    def test_two_sessions_answer_at_the_same_time(self):
        alone = self.session().answer(HELLO, sampler=GREEDY)["message"]
        requests = [self.request(self.session(), HELLO, sampler=GREEDY).start() for _ in range(2)]
        for request in requests:
            request.wait(60_000)
        self.assertEqual([request.result()["message"] for request in requests], [alone, alone])


class Models(Case):
    def test_what_a_model_says_of_itself(self):
        self.assertEqual(qwip.ABI_VERSION, LIBRARY.c.qwip_abi_version())
        self.assertRegex(LIBRARY.version, r"^\d+\.\d+")
        for status in Status:
            self.assertEqual(LIBRARY.status_name(status), f"QWIP_STATUS_{status.name}")
        info = self.model.info()
        self.assertEqual((info["architecture"], info["task"], info["layers"]), ("qwen3", "generate", 4))
        self.assertEqual(info["bytes"], os.path.getsize(MODEL_PATH))
        self.assertEqual(self.model.metadata("general.architecture"), "qwen3")
        self.fails(Status.NOT_FOUND, self.model.metadata, "general.nothing")

    def test_tokens(self):
        for text in ("Hello, world", "你好，世界", "a\0b", ""):
            # Texts of C end with 0: it comes out as U+FFFD.
            self.assertEqual(self.model.detokenize(self.model.tokenize(text)), text.replace("\0", "\ufffd"))
        tokens = self.model.tokenize("Hello, world")
        self.assertEqual(b"".join(map(self.model.token_bytes, tokens)), b"Hello, world")
        plain = self.model.tokenize("<|im_end|>")
        special = self.model.tokenize("<|im_end|>", qwip.TOKENIZE_SPECIAL)
        self.assertGreater(len(plain), 1)
        self.assertEqual((len(special), self.model.is_end(special[0]), self.model.is_end(plain[0])), (1, True, False))
        self.fails(Status.INVALID_ARGUMENT, self.model.token_bytes, 10**6)
        self.fails(Status.INVALID_ARGUMENT, self.model.detokenize, [10**6])

    def test_the_same_model_by_path_descriptor_and_memory(self):
        expected = self.session().answer(HELLO, sampler=GREEDY)["message"]
        with open(MODEL_PATH, "rb") as file:
            data = file.read()
        packed = self.path("assets")
        with open(packed, "wb") as file:
            file.write(b"x" * 4099 + data + b"y" * 77)  # as in a package, and at no round offset
        models = [LIBRARY.model(MODEL_PATH, mmap=False)]
        if os.name == "posix":
            with open(packed, "rb") as file:
                models.append(LIBRARY.model().open_fd(file.fileno(), 4099, len(data)).load())
        models.append(LIBRARY.model().open_memory(data).load())
        for model in models:
            with model, model.session() as session:
                self.assertEqual(session.answer(HELLO, sampler=GREEDY)["message"], expected)
        self.memory_is_given_back()

    def memory_is_given_back(self):
        """Once models and sessions have gone, and what was still using them has ended."""
        until = time.monotonic() + 10
        while qwip._lent and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(len(qwip._lent), 0)

    def test_an_estimate_before_the_load(self):
        with LIBRARY.model(MODEL_PATH, load=False) as model:
            mapped, dirty, gpu, kv, total = (model.estimate(2048, kind) for kind in Memory)
            self.assertGreater(mapped, 4_000_000)
            self.assertEqual((gpu, total), (0, mapped + dirty))
            # 4 layers of 2 heads of 64, keys and values, two bytes each
            self.assertEqual(kv, 4 * 2 * 64 * 2 * 2)
            self.assertLess(model.estimate(64, Memory.DIRTY), dirty)
            self.fails(Status.INVALID_ARGUMENT, model.estimate, 64, 99)

    def test_a_limit_that_is_too_small(self):
        def with_limit(limit):
            with LIBRARY.model(MODEL_PATH, memory_limit=limit) as model, model.session(context=2048) as session:
                session.prepare()

        self.fails(Status.OUT_OF_MEMORY, with_limit, 100_000)
        with_limit(1 << 30)

    def test_files_that_are_no_models(self):
        self.fails(Status.NOT_FOUND, LIBRARY.model, self.path("nothing.gguf"))
        with open(MODEL_PATH, "rb") as file:
            data = file.read()
        for damaged in (b"", b"GGUF", data[:1000], data[: len(data) // 2], b"X" + data[1:]):
            with open(self.path("damaged.gguf"), "wb") as file:
                file.write(damaged)
            self.fails(Status.INVALID_MODEL, LIBRARY.model, self.path("damaged.gguf"))
            self.fails(Status.INVALID_MODEL if damaged else Status.INVALID_ARGUMENT, LIBRARY.model().open_memory, damaged)
        self.memory_is_given_back()

    def test_host_signals(self):
        session = self.session()
        expected = session.answer(HELLO, sampler=GREEDY)["message"]
        for state in qwip.Thermal:
            self.model.on_thermal(state)
            self.assertEqual(self.session().answer(HELLO, sampler=GREEDY)["message"], expected)
        self.model.on_thermal(qwip.Thermal.NOMINAL)
        for level in qwip.Pressure:
            self.model.on_memory_pressure(level)
            self.assertEqual(session.answer(HELLO, sampler=GREEDY)["message"], expected)
        self.fails(Status.INVALID_ARGUMENT, self.model.on_thermal, 17)
        self.fails(Status.INVALID_ARGUMENT, self.model.on_memory_pressure, -1)

    def test_background_and_foreground(self):
        running = self.request(self.session(), HELLO, sampler=GREEDY, ignore_eos=True, max_tokens=1800).start()
        while running.poll(60_000).kind != Kind.TEXT:
            pass
        self.model.background()
        # What was ready still comes, then nothing.
        self.assertLess(self._ready(running), 1000)
        self.fails(Status.TIMEOUT, running.poll, 300)
        self.fails(Status.BACKGROUND, self.session().decode, [1])
        waiting = self.request(self.session(), HELLO, sampler=GREEDY).start()
        self.fails(Status.TIMEOUT, waiting.wait, 100)
        self.model.foreground()
        waiting.wait(60_000)
        self.assertEqual(waiting.result()["finish_reason"], "stop")
        self.assertEqual(running.poll(60_000).kind, Kind.TEXT)
        running.cancel()
        running.wait(60_000)

    @staticmethod
    def _ready(request) -> int:
        """Takes what there is to take, and says how much it was."""
        for taken in range(2000):
            try:
                request.poll(100)
            except qwip.QwipError as error:
                if error.status != Status.TIMEOUT:
                    raise
                break
        return taken


class Misuse(Case):
    def test_numbers_that_c_would_cut_off(self):
        session = self.session()
        for wrong in ([1 << 40], [-1], [1 << 32]):
            self.fails(Status.INVALID_ARGUMENT, session.decode, wrong)
        for wrong in (-1, (1 << 32) + 1):
            self.fails(Status.INVALID_ARGUMENT, self.request, session, HELLO, max_tokens=wrong)
        text = session.answer(HELLO, stop="zzz", sampler=GREEDY)["message"]["content"]
        self.assertEqual(text, self.session().answer(HELLO, sampler=GREEDY)["message"]["content"])

    def test_the_interpreter_ends_while_answers_call_back(self):
        program = (
            "import qwip, sys\n"
            "library = qwip.Library(sys.argv[1])\n"
            "library.set_log(lambda level, text: None, 4)\n"
            "session = library.model(sys.argv[2]).session()\n"
            "requests = [session.request([{'role': 'user', 'content': 'Hi'}], ignore_eos=True).start(lambda event: None)]\n")
        for _ in range(3):
            done = subprocess.run([sys.executable, "-B", "-c", program, LIBRARY_PATH, MODEL_PATH], capture_output=True,
                                  cwd=os.path.dirname(os.path.abspath(__file__)), timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_closed_handles(self):
        session, sampler = self.session(), self.model.sampler()
        request = self.request(session, HELLO)
        for closed in (request, sampler, session, self.model):
            closed.close()
            closed.close()  # twice is fine
        self.fails(Status.INVALID_HANDLE, request.start)
        self.fails(Status.INVALID_HANDLE, request.poll, 0)
        self.fails(Status.INVALID_HANDLE, sampler.sample, session)
        self.fails(Status.INVALID_HANDLE, len, session)
        self.fails(Status.INVALID_HANDLE, self.model.tokenize, "a")
        self.fails(Status.INVALID_HANDLE, self.model.session)

    def test_handles_that_are_none(self):
        c, out = LIBRARY.c, ctypes.c_void_p()
        made = self.session()
        freed = ctypes.c_void_p(self.model.session()._handle.value)  # its session is gone at once
        for wrong in (None, freed, ctypes.c_void_p(1), ctypes.c_void_p(2**48 + 5), self.model._handle):
            self.assertEqual(c.qwip_session_prepare(wrong), Status.INVALID_HANDLE)
            self.assertEqual(c.qwip_session_free(wrong), Status.INVALID_HANDLE)
            self.assertEqual(c.qwip_request_new(wrong, ctypes.byref(out)), Status.INVALID_HANDLE)
            self.assertIsNone(out.value)
        self.assertEqual(c.qwip_model_info(made._handle, ctypes.byref(out)), Status.INVALID_HANDLE)
        self.assertEqual(c.qwip_model_info(self.model._handle, None), Status.INVALID_ARGUMENT)
        self.assertEqual(c.qwip_model_new(None), Status.INVALID_ARGUMENT)
        self.assertEqual(c.qwip_model_open_path(self.model._handle, None), Status.INVALID_ARGUMENT)
        self.assertEqual(c.qwip_session_decode(made._handle, None, 3), Status.INVALID_ARGUMENT)
        c.qwip_string_free(None)

    def test_one_call_at_a_time(self):
        session = self.session()
        request = self.request(session, HELLO, ignore_eos=True, max_tokens=1500).start()
        self.fails(Status.BUSY, session.decode, [1])
        self.fails(Status.BUSY, session.truncate, 0)
        self.fails(Status.BUSY, self.request(session, HELLO).start)
        self.fails(Status.WRONG_STATE, request.start)
        request.cancel()
        request.wait(60_000)
        session.truncate(0)

    def test_a_callback_that_calls_back(self):
        session = self.session()
        request = self.request(session, HELLO, sampler=GREEDY, max_tokens=5)
        seen = []

        def hear(event):
            calls = [lambda: request.wait(1000), request.close]
            # From the usage on the session is free for whoever comes first.
            if event.kind not in (Kind.USAGE, Kind.FINISH):
                calls += [lambda: session.decode([1]), lambda: session.truncate(0), session.close]
            for call in calls:
                try:
                    call()
                    seen.append(Status.OK)
                except qwip.QwipError as error:
                    seen.append(error.status)

        request.start(hear).wait(60_000)
        self.assertEqual(set(seen), {Status.BUSY})
        self.assertEqual(request.result()["finish_reason"], "length")

    def test_settings_that_come_too_late(self):
        session = self.session()
        session.decode([1])
        self.fails(Status.WRONG_STATE, session.call, "set_context", 64)
        self.fails(Status.WRONG_STATE, self.model.call, "set_threads", 1)
        self.fails(Status.WRONG_STATE, self.model.load)
        with LIBRARY.model() as empty:
            self.fails(Status.WRONG_STATE, empty.load)
            self.fails(Status.WRONG_STATE, empty.tokenize, "a")
            self.fails(Status.WRONG_STATE, empty.session)

    def test_requests_that_say_nothing_sensible(self):
        session = self.session()
        for messages in ("[", "{}", "7", '[{"role":"user"', '[{"role":7,"content":"x"}]', b'[{"role":"user","content":"\xff"}]',
                         "[" * 100_000):
            self.fails(Status.INVALID_ARGUMENT, session.answer, messages)
        self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, tools='[{"type":')
        self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, template_kwargs="[]")
        self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, tool_choice="perhaps")
        self.fails(Status.WRONG_STATE, session.answer)
        if LIBRARY.has_feature("constrain"):
            self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, json_schema='{"type": "nothing"}')
            self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, json_schema="{")
            self.fails(Status.INVALID_ARGUMENT, session.answer, HELLO, grammar="start: (")

    def test_invalid_utf8(self):
        bad = b"abc\xff\xfe"
        self.fails(Status.INVALID_ARGUMENT, self.model.tokenize, bad)
        self.fails(Status.INVALID_ARGUMENT, self.model.tokenize, "\ud800")
        self.fails(Status.INVALID_ARGUMENT, self.model.metadata, bad)
        self.fails(Status.INVALID_ARGUMENT, self.model.apply_template, bad)
        self.fails(Status.INVALID_ARGUMENT, self.session().answer, prompt=bad)
        self.fails(Status.INVALID_ARGUMENT, self.session().answer, prompt="a\0b")

    def test_numbers_out_of_range(self):
        session = self.session()
        for setting, value in (("temperature", -1.0), ("temperature", float("nan")), ("top_p", 2.0), ("min_p", -0.5),
                               ("repeat_penalty", float("inf"))):
            self.fails(Status.INVALID_ARGUMENT, self.model.sampler, **{setting: value})
        self.fails(Status.INVALID_ARGUMENT, session.decode, [10**6])
        self.fails(Status.INVALID_ARGUMENT, session.truncate, 5)
        self.fails(Status.INVALID_ARGUMENT, self.model.session, keys=9)
        self.fails(Status.INVALID_ARGUMENT, self.model.session, rope_scaling=(qwip.Rope.LINEAR, -3.0))
        self.fails(Status.INVALID_ARGUMENT, session.call, "estimate", 99, ctypes.byref(ctypes.c_uint64()))

    def test_logits_before_anything_was_decoded_and_buffers_that_are_too_small(self):
        session = self.session()
        self.fails(Status.WRONG_STATE, session.logits)
        session.decode([1])
        count, few = ctypes.c_size_t(), (ctypes.c_float * 3)()
        self.fails(Status.BUFFER_TOO_SMALL, session.call, "logits", few, 3, ctypes.byref(count))
        self.assertEqual(count.value, self.model.info()["vocab"])

    def test_a_full_context(self):
        session = self.session(context=64)
        self.fails(Status.CONTEXT_FULL, session.decode, [1] * 65)
        message = self.fails(Status.CONTEXT_FULL, session.answer, [{"role": "user", "content": "word " * 200}])
        self.assertIn("64", message)
        self.assertEqual(session.answer(HELLO, ignore_eos=True, max_tokens=500)["finish_reason"], "length")

    def test_a_chat_model_makes_no_vectors(self):
        self.fails(Status.UNSUPPORTED, self.session().embed, "text")
        self.fails(Status.UNSUPPORTED, self.session().rerank, "query", "document")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    LIBRARY_PATH, MODEL_PATH = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    LIBRARY = qwip.Library(LIBRARY_PATH)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
