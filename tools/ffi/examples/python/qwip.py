"""qwip from Python, through its C library and ctypes alone.

    import qwip
    library = qwip.Library("target/release/libqwip.so")
    with library.model("model.gguf") as model, model.session() as session:
        for event in session.stream([{"role": "user", "content": "Hello"}]):
            if event.kind == qwip.Kind.TEXT:
                print(event.data, end="", flush=True)

Everything that fails raises QwipError with the library's status and its one line of text. Objects close themselves at the end
of a `with` block, or when nothing refers to them; a closed one raises INVALID_HANDLE. A session answers one call at a time.
Python 3.8 or newer.
"""

import atexit
import ctypes
import enum
import itertools
import json
import os
import sys
import weakref
from ctypes import (
    CFUNCTYPE, POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p,
)
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Union

ABI_VERSION = 1


Status = enum.IntEnum("Status", "OK INVALID_ARGUMENT INVALID_HANDLE WRONG_STATE BUSY CANCELLED TIMEOUT DONE NOT_FOUND IO"
                      " INVALID_MODEL UNSUPPORTED OUT_OF_MEMORY CONTEXT_FULL BUFFER_TOO_SMALL BACKGROUND INTERNAL", start=0)
# What an event is; see qwip.h for what its data holds.
Kind = enum.IntEnum("Kind", "NONE PROGRESS TEXT REASONING TOOL_CALL USAGE FINISH ERROR", start=0)
# Kinds of memory that an estimate tells apart.
Memory = enum.IntEnum("Memory", "MAPPED DIRTY GPU KV_PER_TOKEN TOTAL", start=0)
Pressure = enum.IntEnum("Pressure", "NORMAL MODERATE CRITICAL", start=0)
Thermal = enum.IntEnum("Thermal", "NOMINAL FAIR SERIOUS CRITICAL", start=0)
CacheType = enum.IntEnum("CacheType", "F16 F32 Q8_0", start=0)
Rope = enum.IntEnum("Rope", "MODEL NONE LINEAR YARN", start=0)

TOKENIZE_SPECIAL = 1
TOKENIZE_BOS = 2


class QwipError(Exception):
    """A call failed: `status` says how, the text says what was wrong with what."""

    def __init__(self, status: int, message: str):
        super().__init__(message or "no message")
        try:
            self.status: int = Status(status)
        except ValueError:  # a newer library
            self.status = status

    def __str__(self) -> str:
        name = self.status.name if isinstance(self.status, Status) else self.status
        return f"{super().__str__()} ({name})"


class Event(NamedTuple):
    kind: int
    data: str

    def json(self) -> Any:
        """What PROGRESS, TOOL_CALL and USAGE hold."""
        return json.loads(self.data)


_LOG = CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
_PROGRESS = CFUNCTYPE(c_int32, c_uint64, c_uint64, c_void_p)
_RELEASE = CFUNCTYPE(None, c_void_p)
# The data of an event is not NUL-terminated by contract, so it comes as an address and is read with its length.
_EVENT = CFUNCTYPE(c_int32, c_int32, c_void_p, c_size_t, c_void_p)

_H = c_void_p  # a handle: a number that is never followed
_OUT = POINTER(c_void_p)  # a handle or a text that the call gives out


def _each(arguments: list, names: str) -> dict:
    return {f"qwip_{name}": arguments for name in names.split()}


# The arguments of every call; check_bindings.py compares them with qwip.h. All of these return a status.
_CALLS = {
    **_each([_H], """
        model_free model_load model_background model_foreground session_free session_prepare session_cancel
        sampler_free request_free request_cancel
    """),
    **_each([_H, _OUT], """
        model_error model_info session_new session_error session_fork sampler_new sampler_error request_new
        request_error request_result
    """),
    **_each([_H, c_int32], """
        model_set_threads model_set_mmap model_set_mlock model_set_prefault model_set_gpu_layers
        model_on_memory_pressure model_on_thermal request_set_parallel_tool_calls request_set_thinking
        request_set_ignore_eos
    """),
    **_each([_H, c_char_p], """
        model_open_path session_save session_restore request_set_messages request_set_prompt request_set_tools
        request_set_tool_choice request_set_json_schema request_set_grammar request_set_template_kwargs
        request_add_stop
    """),
    **_each([_H, c_uint32], """
        session_set_context session_set_batch sampler_set_top_k sampler_set_penalty_last_n request_set_thinking_budget
        request_set_max_tokens
    """),
    **_each([_H, c_float], """
        sampler_set_temperature sampler_set_top_p sampler_set_min_p sampler_set_repeat_penalty
        sampler_set_presence_penalty sampler_set_frequency_penalty
    """),
    "qwip_last_error": [_OUT],
    "qwip_set_log": [_LOG, c_void_p, c_int32],
    "qwip_model_new": [_OUT],
    "qwip_model_set_affinity": [_H, POINTER(c_uint32), c_size_t],
    "qwip_model_set_memory_limit": [_H, c_uint64],
    "qwip_model_set_progress": [_H, _PROGRESS, c_void_p],
    "qwip_model_open_fd": [_H, c_int32, c_uint64, c_uint64],
    "qwip_model_open_memory": [_H, c_void_p, c_size_t, _RELEASE, c_void_p],
    "qwip_model_metadata": [_H, c_char_p, _OUT],
    "qwip_model_memory_used": [_H, POINTER(c_uint64)],
    "qwip_model_estimate": [_H, c_uint32, c_int32, POINTER(c_uint64)],
    "qwip_model_tokenize": [_H, c_char_p, c_size_t, c_uint32, POINTER(c_uint32), c_size_t, POINTER(c_size_t)],
    "qwip_model_detokenize": [_H, POINTER(c_uint32), c_size_t, c_int32, _OUT],
    "qwip_model_token_bytes": [_H, c_uint32, POINTER(c_uint8), c_size_t, POINTER(c_size_t)],
    "qwip_model_is_end": [_H, c_uint32, POINTER(c_int32)],
    "qwip_model_apply_template": [_H, c_char_p, c_char_p, c_int32, _OUT],
    "qwip_session_set_cache_types": [_H, c_int32, c_int32],
    "qwip_session_set_rope_scaling": [_H, c_int32, c_float],
    "qwip_session_estimate": [_H, c_int32, POINTER(c_uint64)],
    "qwip_session_length": [_H, POINTER(c_size_t)],
    "qwip_session_tokens": [_H, POINTER(c_uint32), c_size_t, POINTER(c_size_t)],
    "qwip_session_truncate": [_H, c_size_t],
    "qwip_session_decode": [_H, POINTER(c_uint32), c_size_t],
    "qwip_session_logits": [_H, POINTER(c_float), c_size_t, POINTER(c_size_t)],
    "qwip_session_embed": [_H, c_char_p, c_size_t, c_uint32, POINTER(c_float), c_size_t, POINTER(c_size_t)],
    "qwip_session_rerank": [_H, c_char_p, c_char_p, POINTER(c_double)],
    "qwip_sampler_set_seed": [_H, c_uint64],
    "qwip_sampler_sample": [_H, _H, POINTER(c_uint32)],
    "qwip_request_set_sampler": [_H, _H],
    "qwip_request_start": [_H, _EVENT, c_void_p],
    "qwip_request_poll": [_H, c_int64, POINTER(c_int32), _OUT],
    "qwip_request_wait": [_H, c_int64],
}

Text = Union[str, bytes]

# Bytes that models read from, until the library says that it needs them no longer: sessions may outlive their model.
_lent: dict = {}
_lent_keys = itertools.count(1)


@_RELEASE
def _give_back(key):
    _lent.pop(key, None)


def _utf8(text: Text) -> bytes:
    # Lone surrogates stay as bytes that are no UTF-8, which the library refuses in its own words.
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return data


def _c_text(text: Text) -> bytes:
    data = _utf8(text)
    if b"\0" in data:  # C would stop reading there and not say so
        raise QwipError(Status.INVALID_ARGUMENT, "the text holds a NUL character")
    return data


def _json(value: Any) -> bytes:
    """JSON text as it is, everything else written as JSON."""
    return _c_text(value if isinstance(value, (str, bytes)) else json.dumps(value))


class Library:
    """The shared library: `Library(path)`, or the one that QWIP_LIBRARY names, or the system's."""

    def __init__(self, path: Optional[str] = None):
        names = {"win32": "qwip.dll", "darwin": "libqwip.dylib"}
        path = path or os.environ.get("QWIP_LIBRARY") or names.get(sys.platform, "libqwip.so")
        # A bare name is for the system's loader to find, anything else is a path, also relative to here.
        self.c = ctypes.CDLL(os.path.abspath(path) if os.path.dirname(path) else path)
        self.c.qwip_abi_version.restype = c_uint32
        found = self.c.qwip_abi_version()
        if found != ABI_VERSION:
            raise QwipError(Status.UNSUPPORTED, f"{path} has ABI version {found}, this file is for {ABI_VERSION}")
        self.c.qwip_version.restype = c_char_p
        self.c.qwip_status_name.argtypes, self.c.qwip_status_name.restype = [c_int32], c_char_p
        self.c.qwip_has_feature.argtypes, self.c.qwip_has_feature.restype = [c_char_p], c_int32
        self.c.qwip_string_free.argtypes, self.c.qwip_string_free.restype = [c_void_p], None
        for name, arguments in _CALLS.items():
            function = getattr(self.c, name)
            function.argtypes, function.restype = arguments, c_int32
        self._log = _LOG()

    @property
    def version(self) -> str:
        return self.c.qwip_version().decode()

    def status_name(self, status: int) -> str:
        return self.c.qwip_status_name(status).decode()

    def has_feature(self, name: str) -> bool:
        return self.c.qwip_has_feature(_c_text(name)) != 0

    def set_log(self, write: Optional[Callable[[int, str], None]], most_verbose: int = 3) -> None:
        """`write(level, message)` is called on any thread; None ends it. Levels: 1 errors to 4 debug."""
        log = _LOG() if write is None else _LOG(lambda level, text, _: write(level, text.decode("utf-8", "replace")))
        self.check(self.c.qwip_set_log(log, None, most_verbose))
        _calling.add(self)
        self._log = log  # the library may still be inside the old one until the call above has returned

    def _be_quiet(self) -> None:
        self.set_log(None)

    def take(self, text: c_void_p) -> str:
        """The text that a call gave out; frees it."""
        if not text.value:
            return ""
        try:
            return ctypes.string_at(text.value).decode("utf-8", "replace")
        finally:
            self.c.qwip_string_free(text)

    def check(self, status: int, ask: Optional[str] = None, handle: Optional[c_void_p] = None) -> None:
        """Raises unless `status` is OK, with the text of the handle that `ask` (`qwip_model_error`...) is for."""
        if status == Status.OK:
            return
        text = c_void_p()
        message = ""
        if ask and status != Status.INVALID_HANDLE and getattr(self.c, ask)(handle, byref(text)) == Status.OK:
            message = self.take(text)
        if not message and self.c.qwip_last_error(byref(text)) == Status.OK:
            message = self.take(text)
        raise QwipError(status, message or self.status_name(status))

    def model(self, path: Optional[str] = None, **options) -> "Model":
        return Model(self, path, **options)


def _numbers(values: Sequence[int]):
    """An array for C, which would cut off what is too large."""
    for value in values:
        if not 0 <= value < 1 << 32:
            raise QwipError(Status.INVALID_ARGUMENT, f"{value} is no number of 32 bits without a sign")
    return (c_uint32 * len(values))(*values)


def _fits(name: str, arguments: Sequence[Any]) -> None:
    """Numbers that C would cut off are refused."""
    for kind, value in zip(_CALLS[name][1:], arguments):
        if isinstance(value, int) and kind in (c_int32, c_int64, c_uint32, c_uint64, c_size_t) and kind(value).value != value:
            raise QwipError(Status.INVALID_ARGUMENT, f"{name}: {value} is out of range")


# What calls back: Python must hear no more of it once it ends, since then it ends the threads that come from outside.
_calling: "weakref.WeakSet[Any]" = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    for one in list(_calling):
        try:
            one._be_quiet()
        except QwipError:
            pass


class _Handle:
    """What is common to the four kinds: closing, calling, errors."""

    _prefix = ""

    def __init__(self, library: Library, handle: c_void_p):
        self.library = library
        self._handle: Optional[c_void_p] = handle

    def call(self, name: str, *arguments) -> None:
        """One call by the last part of its name, on this handle. After close() the handle is NULL: INVALID_HANDLE."""
        name = f"{self._prefix}_{name}"
        _fits(name, arguments)
        handle = self._handle
        status = getattr(self.library.c, name)(handle, *arguments)
        self.library.check(status, f"{self._prefix}_error", handle)

    def text(self, name: str, *arguments) -> str:
        """A call whose last parameter gives a text out."""
        out = c_void_p()
        self.call(name, *arguments, byref(out))
        return self.library.take(out)

    def close(self) -> None:
        """Frees the handle. Raises BUSY, and keeps it, while a callback has not returned."""
        handle, self._handle = self._handle, None
        if handle is not None:
            status = getattr(self.library.c, f"{self._prefix}_free")(handle)
            if status == Status.BUSY:
                self._handle = handle
            self.library.check(status, f"{self._prefix}_error", handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None and getattr(self.library.c, f"{self._prefix}_free")(handle) == Status.BUSY:
            _lent[next(_lent_keys)] = vars(self)  # a callback is still running: what it uses must stay


class Model(_Handle):
    """A model's weights and tokenizer, to be shared by sessions; any thread.

    `Model(library, path)` opens and loads. With `path=None` nothing is opened yet: `open_fd` or `open_memory`, and `load`.
    `progress(done, total)` may return True to stop the load, which then raises CANCELLED.
    """

    _prefix = "qwip_model"

    def __init__(self, library: Library, path: Optional[str] = None, *, load: bool = True, threads: int = 0,
                 affinity: Sequence[int] = (), mmap: bool = True, mlock: bool = False, prefault: bool = False,
                 memory_limit: int = 0, gpu_layers: int = 0, progress: Optional[Callable[[int, int], Any]] = None):
        handle = c_void_p()
        library.check(library.c.qwip_model_new(byref(handle)))
        super().__init__(library, handle)
        self._progress = _PROGRESS()
        try:
            self.call("set_threads", threads)
            if affinity:
                self.call("set_affinity", _numbers(affinity), len(affinity))
            self.call("set_mmap", mmap)
            self.call("set_mlock", mlock)
            self.call("set_prefault", prefault)
            self.call("set_memory_limit", memory_limit)
            self.call("set_gpu_layers", gpu_layers)
            if progress is not None:
                self._progress = _PROGRESS(lambda done, total, _: bool(progress(done, total)))
                self.call("set_progress", self._progress, None)
            if path is not None:
                self.call("open_path", _c_text(os.fspath(path)))
                if load:
                    self.load()
        except BaseException:
            self.close()
            raise

    def open_fd(self, fd: int, offset: int = 0, length: int = 0) -> "Model":
        """A part of an open file; the descriptor is duplicated. Length 0: to the end."""
        self.call("open_fd", fd, offset, length)
        return self

    def open_memory(self, data: bytes) -> "Model":
        """A file that is in memory; `data` is kept until the model and its sessions have gone."""
        key = next(_lent_keys)
        _lent[key] = data
        # Released exactly once, also if the call fails.
        self.call("open_memory", ctypes.cast(c_char_p(data), c_void_p), len(data), _give_back, key)
        return self

    def load(self) -> "Model":
        self.call("load")
        return self

    def info(self) -> dict:
        return json.loads(self.text("info"))

    def metadata(self, key: str) -> Any:
        return json.loads(self.text("metadata", _c_text(key)))

    def memory_used(self) -> int:
        bytes_ = c_uint64()
        self.call("memory_used", byref(bytes_))
        return bytes_.value

    def estimate(self, context: int, kind: Memory = Memory.TOTAL) -> int:
        bytes_ = c_uint64()
        self.call("estimate", context, kind, byref(bytes_))
        return bytes_.value

    def on_memory_pressure(self, level: Pressure) -> None:
        self.call("on_memory_pressure", level)

    def on_thermal(self, state: Thermal) -> None:
        self.call("on_thermal", state)

    def background(self) -> None:
        self.call("background")

    def foreground(self) -> None:
        self.call("foreground")

    def tokenize(self, text: Text, flags: int = 0) -> List[int]:
        data, count = _utf8(text), c_size_t()
        self.call("tokenize", data, len(data), flags, None, 0, byref(count))
        tokens = (c_uint32 * max(count.value, 1))()
        self.call("tokenize", data, len(data), flags, tokens, count.value, byref(count))
        return list(tokens[: count.value])

    def detokenize(self, tokens: Sequence[int], show_special: bool = False) -> str:
        return self.text("detokenize", _numbers(tokens), len(tokens), show_special)

    def token_bytes(self, token: int) -> bytes:
        count, buffer = c_size_t(), (c_uint8 * 1024)()
        try:
            self.call("token_bytes", token, buffer, len(buffer), byref(count))
        except QwipError as error:
            if error.status != Status.BUFFER_TOO_SMALL:
                raise
            buffer = (c_uint8 * count.value)()
            self.call("token_bytes", token, buffer, len(buffer), byref(count))
        return bytes(buffer[: count.value])

    def is_end(self, token: int) -> bool:
        answer = c_int32()
        self.call("is_end", token, byref(answer))
        return answer.value != 0

    def apply_template(self, messages: Any, tools: Any = None, thinking: Optional[bool] = None) -> str:
        thinking = -1 if thinking is None else int(thinking)
        return self.text("apply_template", _json(messages), None if tools is None else _json(tools), thinking)

    def session(self, **options) -> "Session":
        return Session(self, **options)

    def sampler(self, **settings) -> "Sampler":
        return Sampler(self, **settings)


class Sampler(_Handle):
    """How tokens are drawn: temperature, top_k, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty,
    penalty_last_n, seed. What is not given stays what the model's file says."""

    _prefix = "qwip_sampler"

    def __init__(self, model: Model, **settings):
        handle = c_void_p()
        model.library.check(model.library.c.qwip_sampler_new(model._handle, byref(handle)), "qwip_model_error", model._handle)
        super().__init__(model.library, handle)
        self.model = model
        try:
            for name, value in settings.items():
                if f"qwip_sampler_set_{name}" not in _CALLS:
                    raise TypeError(f"a sampler has no setting {name!r}")
                self.call(f"set_{name}", value)
        except BaseException:
            self.close()
            raise

    def sample(self, session: "Session") -> int:
        token = c_uint32()
        self.call("sample", session._handle, byref(token))
        return token.value


class Session(_Handle):
    """One sequence of tokens on a model. One call at a time: a second one, from wherever, raises BUSY."""

    _prefix = "qwip_session"

    def __init__(self, model: Model, *, context: int = 0, batch: int = 0, keys: CacheType = CacheType.F16,
                 values: CacheType = CacheType.F16, rope_scaling: Optional[tuple] = None, _handle: Optional[c_void_p] = None):
        handle = _handle or c_void_p()
        if _handle is None:
            status = model.library.c.qwip_session_new(model._handle, byref(handle))
            model.library.check(status, "qwip_model_error", model._handle)
        super().__init__(model.library, handle)
        self.model = model
        if _handle is not None:
            return
        try:
            self.call("set_context", context)
            self.call("set_batch", batch)
            self.call("set_cache_types", keys, values)
            if rope_scaling is not None:
                self.call("set_rope_scaling", *rope_scaling)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        tokens = c_size_t()
        self.call("length", byref(tokens))
        return tokens.value

    def __bool__(self) -> bool:  # an empty session is a session
        return True

    def estimate(self, kind: Memory = Memory.TOTAL) -> int:
        bytes_ = c_uint64()
        self.call("estimate", kind, byref(bytes_))
        return bytes_.value

    def prepare(self) -> None:
        self.call("prepare")

    def fork(self) -> "Session":
        handle = c_void_p()
        self.call("fork", byref(handle))
        return Session(self.model, _handle=handle)

    def truncate(self, tokens: int) -> None:
        self.call("truncate", tokens)

    def save(self, path: str) -> None:
        self.call("save", _c_text(os.fspath(path)))

    def restore(self, path: str) -> None:
        self.call("restore", _c_text(os.fspath(path)))

    def cancel(self) -> None:
        self.call("cancel")

    def decode(self, tokens: Sequence[int]) -> None:
        self.call("decode", _numbers(tokens), len(tokens))

    def tokens(self) -> List[int]:
        """What it holds."""
        count = c_size_t(len(self))
        tokens = (c_uint32 * max(count.value, 1))()
        self.call("tokens", tokens, count.value, byref(count))
        return list(tokens[: count.value])

    def logits(self) -> List[float]:
        """One number for each entry of the vocabulary, for the token after the last one."""
        return self._floats(lambda out, capacity, count: self.call("logits", out, capacity, count))

    def embed(self, text: Text, dimensions: int = 0) -> List[float]:
        data = _utf8(text)
        return self._floats(lambda out, capacity, count: self.call("embed", data, len(data), dimensions, out, capacity, count))

    @staticmethod
    def _floats(fill) -> List[float]:
        count, capacity = c_size_t(), 4096
        while True:
            out = (c_float * capacity)()
            try:
                fill(out, capacity, byref(count))
                return list(out[: count.value])
            except QwipError as error:
                if error.status != Status.BUFFER_TOO_SMALL or count.value <= capacity:
                    raise
                capacity = count.value

    def rerank(self, query: Text, document: Text) -> float:
        score = c_double()
        self.call("rerank", _c_text(query), _c_text(document), byref(score))
        return score.value

    def request(self, messages: Any = None, **options) -> "Request":
        return Request(self, messages, **options)

    def stream(self, messages: Any = None, **options) -> Iterator[Event]:
        """Starts a request and yields its events; leaving the loop early cancels it."""
        with self.request(messages, **options) as request:
            request.start()
            yield from request.events()

    def answer(self, messages: Any = None, **options) -> dict:
        """A whole answer: message, finish_reason, usage."""
        with self.request(messages, **options) as request:
            request.start()
            for _ in request.events():
                pass
            return request.result()


class Request(_Handle):
    """One answer. Options: messages or prompt, tools, tool_choice, parallel_tool_calls, json_schema, grammar, thinking
    (True, False, None: the model's own), thinking_budget, template_kwargs, max_tokens, stop (texts), ignore_eos, sampler
    (a Sampler, or a dict of its settings)."""

    _prefix = "qwip_request"

    def __init__(self, session: Session, messages: Any = None, *, prompt: Optional[Text] = None, tools: Any = None,
                 tool_choice: Any = None, parallel_tool_calls: Optional[bool] = None, json_schema: Any = None,
                 grammar: Optional[Text] = None, thinking: Optional[bool] = None, thinking_budget: Optional[int] = None,
                 template_kwargs: Any = None, max_tokens: Optional[int] = None, stop: Sequence[Text] = (),
                 ignore_eos: bool = False, sampler: Union[Sampler, dict, None] = None):
        handle = c_void_p()
        library = session.library
        library.check(library.c.qwip_request_new(session._handle, byref(handle)), "qwip_session_error", session._handle)
        super().__init__(library, handle)
        self.session = session
        self._callback = _EVENT()
        self._raised: Optional[BaseException] = None
        try:
            for name, value in (("messages", messages), ("tools", tools), ("json_schema", json_schema),
                                ("template_kwargs", template_kwargs)):
                if value is not None:
                    self.call(f"set_{name}", _json(value))
            for name, text in (("prompt", prompt), ("grammar", grammar)):
                if text is not None:
                    self.call(f"set_{name}", _c_text(text))
            if tool_choice is not None:
                # A word goes as it is, OpenAI's object as JSON.
                self.call("set_tool_choice", _json(tool_choice))
            for name, number in (("parallel_tool_calls", parallel_tool_calls), ("thinking", thinking),
                                 ("thinking_budget", thinking_budget), ("max_tokens", max_tokens)):
                if number is not None:
                    self.call(f"set_{name}", int(number))
            for text in (stop,) if isinstance(stop, str) else stop:
                self.call("add_stop", _c_text(text))
            if ignore_eos:
                self.call("set_ignore_eos", 1)
            if isinstance(sampler, dict):
                with session.model.sampler(**sampler) as made:
                    self.call("set_sampler", made._handle)
            elif sampler is not None:
                self.call("set_sampler", sampler._handle)
        except BaseException:
            self.close()
            raise

    def start(self, callback: Optional[Callable[[Event], Any]] = None) -> "Request":
        """Begins; events come by `poll` and `events`, or to `callback` on another thread, which may return True to cancel.
        What a callback raises cancels the request and is raised by `wait`."""
        def pass_on(kind, data, length, _):
            try:
                return 1 if callback(Event(kind, ctypes.string_at(data, length).decode("utf-8", "replace"))) else 0
            except BaseException as error:  # nothing may unwind into C
                self._raised = error
                return 1

        if callback is not None:
            self._callback = _EVENT(pass_on)
            _calling.add(self)
        self.call("start", self._callback, None)
        return self

    def _be_quiet(self) -> None:
        self.cancel()
        self.call("wait", 5000)

    def poll(self, timeout_ms: int = -1) -> Event:
        """The next event. Raises TIMEOUT, DONE after the last one, and INVALID_HANDLE once closed."""
        kind, data = c_int32(), c_void_p()
        self.call("poll", timeout_ms, byref(kind), byref(data))
        return Event(kind.value, self.library.take(data))

    def events(self) -> Iterator[Event]:
        """Events as they come. A failed request raises after the last of them; leaving the loop early cancels."""
        over = False
        try:
            while True:
                try:
                    # Short waits: Python delivers Ctrl-C only between calls.
                    event = self.poll(100)
                except QwipError as error:
                    if error.status == Status.TIMEOUT:
                        continue
                    over = True
                    if error.status == Status.DONE:
                        break
                    raise
                over = event.kind in (Kind.FINISH, Kind.ERROR)
                yield event
            self.wait()
        finally:
            if not over and self._handle is not None:
                self.cancel()

    def wait(self, timeout_ms: int = -1) -> None:
        self.call("wait", timeout_ms)
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error

    def cancel(self) -> None:
        self.call("cancel")

    def result(self) -> dict:
        """Once over: {"message": .., "finish_reason": .., "usage": ..}."""
        return json.loads(self.text("result"))
