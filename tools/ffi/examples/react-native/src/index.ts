import NativeQwip from './NativeQwip';

export type ToolCall = {
  index?: number;
  id: string;
  type: 'function';
  function: {name: string; arguments: string};
};

/** A turn, as OpenAI writes it. */
export type Message =
  | {role: 'system' | 'user'; content: string}
  | {
      role: 'assistant';
      content: string | null;
      reasoning_content?: string;
      tool_calls?: ToolCall[];
    }
  | {role: 'tool'; content: string; tool_call_id: string};

export type Tool = {
  type: 'function';
  function: {name: string; description?: string; parameters: object};
};

export type AskOptions = {
  tools?: Tool[];
  tool_choice?: 'auto' | 'none' | 'required';
  /** Holds the answer to a JSON schema (feature "constrain"). */
  json_schema?: object;
  thinking?: boolean;
  max_tokens?: number;
  temperature?: number;
  seed?: number;
};

export type Usage = {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
};

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'cancelled' | 'repetition';

export type QwipEvent =
  | {kind: 'progress'; done: number; total: number}
  | {kind: 'text'; text: string}
  | {kind: 'reasoning'; text: string}
  | {kind: 'tool_call'; call: ToolCall}
  | {kind: 'usage'; usage: Usage}
  | {kind: 'finish'; reason: FinishReason};

/** What the model is and can; see qwip_model_info in qwip.h for the rest. */
export type Info = {
  architecture: string;
  name: string | null;
  context: number;
  task: 'generate' | 'embed' | 'rerank';
  thinks: boolean;
};

/** A model with one session: it answers one question at a time. */
export class Chat {
  private constructor(private readonly handle: number) {}

  /** `memoryLimit` in bytes, besides the mapped weights; 0: none. */
  static async load(path: string, options: {context?: number; memoryLimit?: number} = {}): Promise<Chat> {
    return new Chat(await NativeQwip.load(path, options.context ?? 0, options.memoryLimit ?? 0));
  }

  static estimate(path: string, context: number): Promise<number> {
    return NativeQwip.estimate(path, context);
  }

  async info(): Promise<Info> {
    return JSON.parse(await NativeQwip.info(this.handle)) as Info;
  }

  /**
   * Asks, and yields what comes. Leaving the loop, or `signal`, cancels the answer.
   *
   *     for await (const event of chat.ask(messages)) if (event.kind === 'text') show(event.text);
   */
  async *ask(messages: Message[], options: AskOptions = {}, signal?: AbortSignal): AsyncGenerator<QwipEvent> {
    const request = await NativeQwip.start(this.handle, JSON.stringify({...options, messages}));
    const cancel = () => NativeQwip.cancel(request);
    try {
      if (signal?.aborted) {
        cancel();
      }
      signal?.addEventListener('abort', cancel);
      for (let text = await NativeQwip.next(request); text !== ''; text = await NativeQwip.next(request)) {
        const event = read(text);
        if (event) {
          yield event;
        }
      }
    } finally {
      signal?.removeEventListener('abort', cancel);
      NativeQwip.close(request);
    }
  }

  release(): void {
    NativeQwip.release(this.handle);
  }
}

/** An event as the native side writes it; undefined: one of a newer library. */
function read(text: string): QwipEvent | undefined {
  const {kind, data} = JSON.parse(text) as {kind: string; data: string};
  switch (kind) {
    case 'progress': {
      const {done, total} = JSON.parse(data) as {done: number; total: number};
      return {kind, done, total};
    }
    case 'text':
    case 'reasoning':
      return {kind, text: data};
    case 'tool_call':
      return {kind, call: JSON.parse(data) as ToolCall};
    case 'usage':
      return {kind, usage: JSON.parse(data) as Usage};
    case 'finish':
      return {kind, reason: data as FinishReason};
    default:
      return undefined;
  }
}
