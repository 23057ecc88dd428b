import type {TurboModule} from 'react-native';
import {TurboModuleRegistry} from 'react-native';

/**
 * The native module, as React Native's code generator reads it: a chat and a request are numbers. Nothing here blocks
 * JavaScript; `next` is answered when there is an event.
 */
export interface Spec extends TurboModule {
  /** Loads a model and makes a session of `context` tokens (0: what the model was trained for). */
  load(path: string, context: number, memoryLimit: number): Promise<number>;
  /** What qwip_model_info says, as JSON. */
  info(chat: number): Promise<string>;
  /** Bytes besides the mapped weights that a session of `context` tokens will take; nothing is loaded for it. */
  estimate(path: string, context: number): Promise<number>;
  /** Starts an answer; `options` is JSON, see AskOptions. */
  start(chat: number, options: string): Promise<number>;
  /** The next event as JSON, {"kind": .., "data": ..}; "" after the last one. */
  next(request: number): Promise<string>;
  /** Ends it; a finish event as "cancelled" follows. */
  cancel(request: number): void;
  /** Frees a request that is over, or that nobody listens to any more. */
  close(request: number): void;
  /** Frees a chat with its model. */
  release(chat: number): void;
}

export default TurboModuleRegistry.getEnforcing<Spec>('Qwip');
