// openai for Node, in the version that is named. Prints what it was told, as JSON.

const [, , base, name] = process.argv;
const { default: OpenAI } = await import(name);
const keys = { baseURL: base, apiKey: "none", timeout: 1500 };
const once = new OpenAI({ ...keys, maxRetries: 0 });
const again = new OpenAI({ ...keys, maxRetries: 12 });
const messages = [{ role: "user", content: "Why does the oven sleep?" }];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function stream() {
  const parts = await once.chat.completions.create({
    model: "stream", messages, max_tokens: 9, stream: true,
  });
  let text = "";
  for await (const part of parts) text += part.choices[0].delta.content ?? "";
  return text;
}

async function plain() {
  const said = await again.chat.completions.create({ model: "plain", messages, max_tokens: 9 });
  return said.choices[0].message.content;
}

async function background() {
  let said = await once.responses.create({ model: "background", input: "Why?", background: true });
  const first = said.status;
  while (["queued", "in_progress"].includes(said.status)) {
    await pause(100);
    said = await once.responses.retrieve(said.id);
  }
  const text = said.output.flatMap((item) => item.content.map((part) => part.text)).join("");
  return { first, last: said.status, text };
}

async function resumed() {
  if (name === "openai4") return null; // it cannot retrieve a stream
  const events = await once.responses.create({
    model: "resumed", input: "Why?", background: true, stream: true, max_output_tokens: 20,
  });
  const numbers = [];
  let id;
  for await (const event of events) {
    id ??= event.response.id;
    numbers.push(event.sequence_number);
    if (numbers.length === 5) break;
  }
  const rest = await once.responses.retrieve(id, { stream: true, starting_after: numbers.at(-1) });
  for await (const event of rest) numbers.push(event.sequence_number);
  return numbers;
}

async function missing() {
  try {
    await once.chat.completions.create({ model: "huge", messages });
  } catch (error) {
    if (error instanceof OpenAI.NotFoundError) return error.code;
    throw error;
  }
}

const cases = { stream, plain, background, resumed, missing };
const told = await Promise.all(Object.values(cases).map((one) => one()));
console.log(JSON.stringify(Object.fromEntries(Object.keys(cases).map((key, n) => [key, told[n]]))));
