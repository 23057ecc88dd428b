import 'dart:async';

import 'package:flutter/material.dart';

import 'qwip.dart';

/// flutter run --dart-define=QWIP_MODEL=/path/to/model.gguf
const modelPath = String.fromEnvironment('QWIP_MODEL');

void main() => runApp(const MaterialApp(title: 'qwip', home: ChatPage()));

class ChatPage extends StatefulWidget {
  const ChatPage({super.key});

  @override
  State<ChatPage> createState() => _ChatPageState();
}

/// Observes the app for what a model has to know: memory and background.
class _ChatPageState extends State<ChatPage> with WidgetsBindingObserver {
  final _input = TextEditingController();
  final List<Map<String, Object?>> _messages = [];
  StreamSubscription<QwipEvent>? _answer;
  QwipChat? _chat;
  String _note = 'Loading...';

  @override
  void initState() {
    super.initState();
    WidgetsBinding.instance.addObserver(this);
    _load();
  }

  Future<void> _load() async {
    try {
      final chat = await QwipChat.load(const QwipOptions(modelPath: modelPath, context: 4096));
      if (!mounted) return chat.close();
      setState(() {
        _chat = chat;
        _note = '${chat.info['name'] ?? chat.info['architecture']}';
      });
    } on QwipException catch (error) {
      if (mounted) setState(() => _note = error.message);
    }
  }

  @override
  void didHaveMemoryPressure() => _chat?.onMemoryPressure(2);

  @override
  void didChangeAppLifecycleState(AppLifecycleState state) {
    if (state == AppLifecycleState.paused) _chat?.background();
    if (state == AppLifecycleState.resumed) _chat?.foreground();
  }

  void _send() {
    final chat = _chat;
    final text = _input.text.trim();
    if (chat == null || text.isEmpty || _answer != null) return;
    _input.clear();
    final reply = <String, Object?>{'role': 'assistant', 'content': ''};
    setState(() => _messages.add({'role': 'user', 'content': text}));
    final asked = List.of(_messages);
    setState(() => _messages.add(reply));
    _answer = chat.ask(asked).listen(
      (event) {
        if (event.kind == QwipKind.text) setState(() => reply['content'] = '${reply['content']}${event.data}');
      },
      onError: (Object error) => setState(() => _note = '$error'),
      onDone: () => setState(() => _answer = null),
    );
  }

  void _stop() {
    _answer?.cancel();
    setState(() => _answer = null);
  }

  @override
  void dispose() {
    WidgetsBinding.instance.removeObserver(this);
    _answer?.cancel();
    _chat?.close();
    _input.dispose();
    super.dispose();
  }

  @override
  Widget build(BuildContext context) => Scaffold(
        appBar: AppBar(title: Text(_note)),
        body: Column(children: [
          Expanded(
            child: ListView(
              padding: const EdgeInsets.all(12),
              children: [
                for (final message in _messages)
                  Align(
                    alignment: message['role'] == 'user' ? Alignment.centerRight : Alignment.centerLeft,
                    child: Padding(padding: const EdgeInsets.all(6), child: SelectableText('${message['content']}')),
                  ),
              ],
            ),
          ),
          Padding(
            padding: const EdgeInsets.all(12),
            child: Row(children: [
              Expanded(child: TextField(controller: _input, onSubmitted: (_) => _send())),
              _answer == null
                  ? IconButton(icon: const Icon(Icons.send), onPressed: _send)
                  : IconButton(icon: const Icon(Icons.stop), onPressed: _stop),
            ]),
          ),
        ]),
      );
}
