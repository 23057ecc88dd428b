// The settings of a conversation: their ranges, and how they become fields of a request. Empty means that the
// model's own default holds, and nothing is sent.

/** Numeric settings, as the server names them: the range, and whether only whole numbers are meant. */
export const NUMBERS = {
  temperature: { min: 0, max: 2, step: 0.1 },
  top_p: { min: 0, max: 1, step: 0.05 },
  top_k: { min: 0, max: 1000, step: 1, whole: true },
  min_p: { min: 0, max: 1, step: 0.01 },
  presence_penalty: { min: -2, max: 2, step: 0.1 },
  repeat_penalty: { min: 0.5, max: 2, step: 0.05 },
  seed: { min: 0, max: 4294967295, step: 1, whole: true },
  max_tokens: { min: 1, max: 1000000, step: 1, whole: true },
};

const MAX_SYSTEM = 1_000_000;

/** Whether the number may be sent as this setting. */
export function inRange(name, value) {
  const { min, max, whole } = NUMBERS[name];
  return Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isInteger(value));
}

/** Only what we know and what is in range: settings come from storage and from files too. */
export function cleanParameters(value) {
  const clean = { system: "", think: "auto" };
  if (typeof value !== "object" || value === null) return clean;
  if (typeof value.system === "string") clean.system = value.system.slice(0, MAX_SYSTEM);
  if (value.think === "on" || value.think === "off") clean.think = value.think;
  for (const name of Object.keys(NUMBERS)) if (inRange(name, value[name])) clean[name] = value[name];
  return clean;
}

/**
 * The request for the next answer: of earlier turns only role and content are sent. `thinks` false means that the
 * model has no thinking to switch.
 */
export function requestFor(model, parameters, messages, thinks) {
  const request = { model, messages: [] };
  if (parameters.system.trim()) request.messages.push({ role: "system", content: parameters.system });
  for (const { role, content } of messages) {
    // An answer that was stopped while it thought has nothing to send.
    if (role === "user" || content) request.messages.push({ role, content });
  }
  for (const name of Object.keys(NUMBERS)) if (parameters[name] !== undefined) request[name] = parameters[name];
  if (parameters.think !== "auto" && thinks) request.chat_template_kwargs = { enable_thinking: parameters.think === "on" };
  return request;
}
