/// qwip for Flutter and Dart: the C library through dart:ffi, in its poll form.
///
/// A helper isolate holds the model and a session and does all that takes time; the isolate that draws never waits. What may be
/// called on any thread (cancel, memory pressure, heat, background) is called directly: handles are numbers of a table in the
/// process, and mean the same in every isolate.
library qwip;

import 'dart:async';
import 'dart:convert';
import 'dart:ffi';
import 'dart:io';
import 'dart:isolate';

import 'package:ffi/ffi.dart';

/// A call failed: [status] is a number of qwip.h, [message] says what was wrong with what.
class QwipException implements Exception {
  const QwipException(this.status, this.message);

  final int status;
  final String message;

  @override
  String toString() => '$message (status $status)';
}

/// Numbers of qwip.h that are needed here.
abstract class QwipStatus {
  static const ok = 0;
  static const invalidArgument = 1;
  static const invalidHandle = 2;
  static const timeout = 6;
  static const done = 7;
  static const unsupported = 11;
}

enum QwipKind { none, progress, text, reasoning, toolCall, usage, finish, error }

/// More of an answer. [data] is text, or JSON for progress, tool calls and usage ([json]).
class QwipEvent {
  const QwipEvent(this.kind, this.data);

  final QwipKind kind;
  final String data;

  Map<String, Object?> get json => jsonDecode(data) as Map<String, Object?>;
}

/// How a model is loaded. Sent to the helper isolate as it is.
class QwipOptions {
  const QwipOptions({
    required this.modelPath,
    this.libraryPath,
    this.threads = 0,
    this.context = 0,
    this.memoryLimit = 0,
  });

  final String modelPath;

  /// null: where Flutter puts it.
  final String? libraryPath;
  final int threads;

  /// Tokens; 0: what the model was trained for.
  final int context;

  /// Bytes of memory besides the mapped weights; 0: no limit.
  final int memoryLimit;
}

/// A model with one session, in an isolate of its own.
class QwipChat {
  QwipChat._(this._native, this._commands, this._model, this.info);

  final _Native _native;
  final SendPort _commands;
  final Pointer<Void> _model;

  /// What `qwip_model_info` says.
  final Map<String, Object?> info;

  /// Loads a model. Throws [QwipException].
  static Future<QwipChat> load(QwipOptions options) async {
    final native = _Native.open(options.libraryPath);
    final port = ReceivePort();
    // An error that nobody foresaw comes on the same port, as a list of two texts.
    await Isolate.spawn(_work, [options, port.sendPort], onError: port.sendPort);
    final answer = await port.first as List<Object?>;
    if (answer[0] == 'failed') {
      throw QwipException(answer[1] as int, answer[2] as String);
    }
    if (answer[0] != 'ready') {
      throw QwipException(QwipStatus.invalidHandle, 'the helper isolate ended: ${answer[0]}');
    }
    final model = Pointer<Void>.fromAddress(answer[2] as int);
    return QwipChat._(native, answer[1] as SendPort, model, jsonDecode(answer[3] as String) as Map<String, Object?>);
  }

  /// Asks, with OpenAI's messages (`{'role': 'user', 'content': '...'}`), and gives what comes as it comes. Cancelling the
  /// subscription cancels the request. Questions that are asked meanwhile wait for their turn.
  Stream<QwipEvent> ask(
    List<Map<String, Object?>> messages, {
    List<Map<String, Object?>> tools = const [],
    Map<String, Object?>? jsonSchema,
    bool? thinking,
    int? maxTokens,
    double? temperature,
    int? seed,
  }) {
    final settings = <String, Object>{'messages': jsonEncode(messages)};
    if (tools.isNotEmpty) settings['tools'] = jsonEncode(tools);
    if (jsonSchema != null) settings['json_schema'] = jsonEncode(jsonSchema);
    if (thinking != null) settings['thinking'] = thinking ? 1 : 0;
    if (maxTokens != null) settings['max_tokens'] = maxTokens;
    if (temperature != null) settings['temperature'] = temperature;
    if (seed != null) settings['seed'] = seed;

    final port = ReceivePort();
    final events = StreamController<QwipEvent>();
    Pointer<Void>? request;
    var cancelled = false;
    events.onListen = () {
      _commands.send([port.sendPort, settings]);
    };
    events.onCancel = () {
      cancelled = true;
      final running = request;
      if (running != null) _native.requestCancel(running);
    };
    port.listen((Object? message) {
      final parts = message as List<Object?>;
      if (parts[0] == 'started') {
        final running = Pointer<Void>.fromAddress(parts[1] as int);
        request = running;
        if (cancelled) _native.requestCancel(running);
      } else if (parts[0] == 'event') {
        if (!cancelled) events.add(QwipEvent(QwipKind.values[parts[1] as int], parts[2] as String));
      } else if (parts[0] == 'failed') {
        if (!cancelled) events.addError(QwipException(parts[1] as int, parts[2] as String));
      } else {
        request = null;
        port.close();
        events.close();
      }
    });
    return events.stream;
  }

  /// 1: caches may go; 2: all that can be computed or read again.
  void onMemoryPressure(int level) => _signal(_native.modelOnMemoryPressure(_model, level));

  /// 0 to 3: nominal, fair, serious, critical.
  void onThermal(int state) => _signal(_native.modelOnThermal(_model, state));

  /// Pauses all work; returns once none is in flight, within 50 ms.
  void background() => _signal(_native.modelBackground(_model));

  /// What was paused goes on.
  void foreground() => _signal(_native.modelForeground(_model));

  /// Frees the model after what is being answered.
  void close() => _commands.send(['close']);

  void _signal(int status) => _native.check(status, _native.modelError, _model);
}

/// The helper isolate.
void _work(List<Object> start) {
  final options = start[0] as QwipOptions;
  final answers = start[1] as SendPort;
  final native = _Native.open(options.libraryPath);
  Pointer<Void> model = nullptr;
  Pointer<Void> session = nullptr;
  void modelDid(int status) => native.check(status, native.modelError, model);
  void sessionDid(int status) => native.check(status, native.sessionError, session);
  try {
    model = native.handle((out) => native.check(native.modelNew(out)));
    modelDid(native.modelSetThreads(model, options.threads));
    modelDid(native.modelSetMemoryLimit(model, options.memoryLimit));
    native.withText(options.modelPath, (path) => modelDid(native.modelOpenPath(model, path)));
    modelDid(native.modelLoad(model));
    session = native.handle((out) => modelDid(native.sessionNew(model, out)));
    sessionDid(native.sessionSetContext(session, options.context));
    final info = native.text((out) => modelDid(native.modelInfo(model, out)));
    final commands = ReceivePort();
    commands.listen((Object? message) {
      final parts = message as List<Object?>;
      if (parts[0] == 'close') {
        native.sessionFree(session);
        native.modelFree(model);
        commands.close();
      } else {
        _answer(native, model, session, parts[0] as SendPort, parts[1] as Map<String, Object>);
      }
    });
    answers.send(['ready', commands.sendPort, model.address, info]);
  } on QwipException catch (error) {
    if (session != nullptr) native.sessionFree(session);
    if (model != nullptr) native.modelFree(model);
    answers.send(['failed', error.status, error.message]);
  }
}

/// One answer, from its settings to its last event.
void _answer(_Native native, Pointer<Void> model, Pointer<Void> session, SendPort port, Map<String, Object> settings) {
  Pointer<Void> request = nullptr;
  void did(int status) => native.check(status, native.requestError, request);
  void text(String name, int Function(Pointer<Void>, Pointer<Utf8>) set) {
    final value = settings[name];
    if (value is String) native.withText(value, (text) => did(set(request, text)));
  }

  void number(String name, int Function(Pointer<Void>, int) set) {
    final value = settings[name];
    if (value is int) did(set(request, value));
  }

  try {
    request = native.handle((out) => native.check(native.requestNew(session, out), native.sessionError, session));
    text('messages', native.requestSetMessages);
    text('tools', native.requestSetTools);
    text('json_schema', native.requestSetJsonSchema);
    number('thinking', native.requestSetThinking);
    number('max_tokens', native.requestSetMaxTokens);
    if (settings.containsKey('temperature') || settings.containsKey('seed')) {
      _setSampler(native, model, request, settings);
    }
    did(native.requestStart(request, nullptr, nullptr));
    port.send(['started', request.address]);
    while (true) {
      final event = native.poll(request);
      if (event == null) break;
      // What a newer library may send besides is passed over.
      if (event.kind < QwipKind.values.length) port.send(['event', event.kind, event.data]);
    }
    did(native.requestWait(request, -1));
  } on QwipException catch (error) {
    port.send(['failed', error.status, error.message]);
  } finally {
    if (request != nullptr) native.requestFree(request);
    port.send(['over']);
  }
}

void _setSampler(_Native native, Pointer<Void> model, Pointer<Void> request, Map<String, Object> settings) {
  final sampler = native.handle((out) => native.check(native.samplerNew(model, out), native.modelError, model));
  void did(int status) => native.check(status, native.samplerError, sampler);
  try {
    final temperature = settings['temperature'];
    if (temperature is double) did(native.samplerSetTemperature(sampler, temperature));
    final seed = settings['seed'];
    if (seed is int) did(native.samplerSetSeed(sampler, seed));
    native.check(native.requestSetSampler(request, sampler), native.requestError, request);
  } finally {
    native.samplerFree(sampler);
  }
}

/// What a poll gave.
class _Polled {
  const _Polled(this.kind, this.data);

  final int kind;
  final String data;
}

typedef _Free = int Function(Pointer<Void>);
typedef _Number = int Function(Pointer<Void>, int);
typedef _Text = int Function(Pointer<Void>, Pointer<Utf8>);
typedef _Out = int Function(Pointer<Void>, Pointer<Pointer<Void>>);

/// The functions of the C library that are used here; check_bindings.py compares them with qwip.h.
class _Native {
  _Native(this._library) {
    final found = abiVersion();
    if (found != 1) throw QwipException(QwipStatus.unsupported, 'libqwip has ABI version $found, this file is for 1');
  }

  /// On iOS the library comes as a framework, elsewhere as a file beside the program.
  factory _Native.open(String? path) {
    final usual = Platform.isIOS ? 'CQwip.framework/CQwip' : (Platform.isWindows ? 'qwip.dll' : 'libqwip.so');
    return _Native(DynamicLibrary.open(path ?? (Platform.isMacOS ? 'libqwip.dylib' : usual)));
  }

  final DynamicLibrary _library;

  late final abiVersion = _library.lookupFunction<Uint32 Function(), int Function()>('qwip_abi_version');
  late final stringFree =
      _library.lookupFunction<Void Function(Pointer<Utf8>), void Function(Pointer<Utf8>)>('qwip_string_free');
  late final lastError = _library.lookupFunction<Int32 Function(Pointer<Pointer<Void>>),
      int Function(Pointer<Pointer<Void>>)>('qwip_last_error');

  late final modelNew = _library.lookupFunction<Int32 Function(Pointer<Pointer<Void>>),
      int Function(Pointer<Pointer<Void>>)>('qwip_model_new');
  late final _Free modelFree =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_model_free');
  late final _Out modelError = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_model_error');
  late final _Number modelSetThreads = _library
      .lookupFunction<Int32 Function(Pointer<Void>, Int32), int Function(Pointer<Void>, int)>('qwip_model_set_threads');
  late final _Number modelSetMemoryLimit = _library.lookupFunction<Int32 Function(Pointer<Void>, Uint64),
      int Function(Pointer<Void>, int)>('qwip_model_set_memory_limit');
  late final _Text modelOpenPath = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Utf8>),
      int Function(Pointer<Void>, Pointer<Utf8>)>('qwip_model_open_path');
  late final _Free modelLoad =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_model_load');
  late final _Out modelInfo = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_model_info');
  late final _Number modelOnMemoryPressure = _library.lookupFunction<Int32 Function(Pointer<Void>, Int32),
      int Function(Pointer<Void>, int)>('qwip_model_on_memory_pressure');
  late final _Number modelOnThermal = _library
      .lookupFunction<Int32 Function(Pointer<Void>, Int32), int Function(Pointer<Void>, int)>('qwip_model_on_thermal');
  late final _Free modelBackground =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_model_background');
  late final _Free modelForeground =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_model_foreground');

  late final _Out sessionNew = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_session_new');
  late final _Free sessionFree =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_session_free');
  late final _Out sessionError = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_session_error');
  late final _Number sessionSetContext = _library.lookupFunction<Int32 Function(Pointer<Void>, Uint32),
      int Function(Pointer<Void>, int)>('qwip_session_set_context');

  late final _Out samplerNew = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_sampler_new');
  late final _Free samplerFree =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_sampler_free');
  late final _Out samplerError = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_sampler_error');
  late final samplerSetTemperature = _library.lookupFunction<Int32 Function(Pointer<Void>, Float),
      int Function(Pointer<Void>, double)>('qwip_sampler_set_temperature');
  late final _Number samplerSetSeed = _library
      .lookupFunction<Int32 Function(Pointer<Void>, Uint64), int Function(Pointer<Void>, int)>('qwip_sampler_set_seed');

  late final _Out requestNew = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_request_new');
  late final _Free requestFree =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_request_free');
  late final _Out requestError = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, Pointer<Pointer<Void>>)>('qwip_request_error');
  late final _Text requestSetMessages = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Utf8>),
      int Function(Pointer<Void>, Pointer<Utf8>)>('qwip_request_set_messages');
  late final _Text requestSetTools = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Utf8>),
      int Function(Pointer<Void>, Pointer<Utf8>)>('qwip_request_set_tools');
  late final _Text requestSetJsonSchema = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Utf8>),
      int Function(Pointer<Void>, Pointer<Utf8>)>('qwip_request_set_json_schema');
  late final _Number requestSetThinking = _library.lookupFunction<Int32 Function(Pointer<Void>, Int32),
      int Function(Pointer<Void>, int)>('qwip_request_set_thinking');
  late final _Number requestSetMaxTokens = _library.lookupFunction<Int32 Function(Pointer<Void>, Uint32),
      int Function(Pointer<Void>, int)>('qwip_request_set_max_tokens');
  late final requestSetSampler = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Void>),
      int Function(Pointer<Void>, Pointer<Void>)>('qwip_request_set_sampler');
  late final requestStart = _library.lookupFunction<Int32 Function(Pointer<Void>, Pointer<Void>, Pointer<Void>),
      int Function(Pointer<Void>, Pointer<Void>, Pointer<Void>)>('qwip_request_start');
  late final requestPoll = _library.lookupFunction<
      Int32 Function(Pointer<Void>, Int64, Pointer<Int32>, Pointer<Pointer<Void>>),
      int Function(Pointer<Void>, int, Pointer<Int32>, Pointer<Pointer<Void>>)>('qwip_request_poll');
  late final _Number requestWait = _library
      .lookupFunction<Int32 Function(Pointer<Void>, Int64), int Function(Pointer<Void>, int)>('qwip_request_wait');
  late final _Free requestCancel =
      _library.lookupFunction<Int32 Function(Pointer<Void>), int Function(Pointer<Void>)>('qwip_request_cancel');

  /// Throws unless [status] is OK, with the text of the handle, or else of this thread.
  void check(int status, [_Out? handleError, Pointer<Void>? handle]) {
    if (status == QwipStatus.ok) return;
    var message = '';
    if (handleError != null && handle != null && status != QwipStatus.invalidHandle) {
      message = text((out) => handleError(handle, out));
    }
    if (message.isEmpty) message = text((out) => lastError(out));
    throw QwipException(status, message);
  }

  /// The text that a call gives out, freed.
  String text(void Function(Pointer<Pointer<Void>>) call) {
    final out = calloc<Pointer<Void>>();
    try {
      call(out);
      return _take(out.value);
    } finally {
      calloc.free(out);
    }
  }

  String _take(Pointer<Void> given) {
    if (given == nullptr) return '';
    final text = given.cast<Utf8>();
    try {
      return text.toDartString();
    } finally {
      stringFree(text);
    }
  }

  /// The handle that a call gives out.
  Pointer<Void> handle(void Function(Pointer<Pointer<Void>>) call) {
    final out = calloc<Pointer<Void>>();
    try {
      call(out);
      return out.value;
    } finally {
      calloc.free(out);
    }
  }

  /// Hands a text to C. A NUL character in it would cut it off.
  void withText(String text, void Function(Pointer<Utf8>) call) {
    if (text.contains('\u0000')) throw const QwipException(QwipStatus.invalidArgument, 'the text holds a NUL character');
    final copy = text.toNativeUtf8();
    try {
      call(copy);
    } finally {
      malloc.free(copy);
    }
  }

  /// The next event; null after the last one. Waits as long as it takes: a cancelled request ends, too.
  _Polled? poll(Pointer<Void> request) {
    final kind = calloc<Int32>();
    final data = calloc<Pointer<Void>>();
    try {
      final status = requestPoll(request, -1, kind, data);
      if (status == QwipStatus.done) return null;
      check(status, requestError, request);
      return _Polled(kind.value, _take(data.value));
    } finally {
      calloc.free(kind);
      calloc.free(data);
    }
  }
}
