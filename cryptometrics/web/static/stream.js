/**
 * The stream of the server: read, checked for silence, resumed where it broke off.
 *
 * It is read with fetch instead of EventSource, which can neither notice a connection that is silent nor come
 * back after an answer that is an error.
 */

const SILENCE_MS = 2500; // the server sends at least one event a second; a loss is shown within 3 s
const RETRY_MS = 1000;

/**
 * @typedef {object} Handlers
 * @property {(name: string, data: any) => void} onEvent
 * @property {(state: "live" | "lost") => void} onState
 */

/**
 * Follow the stream for as long as the page is open.
 * @param {Handlers} handlers
 */
export async function follow(handlers) {
  let lastId = "";
  for (;;) {
    const abort = new AbortController();
    let heard = Date.now();
    const watch = setInterval(() => {
      // A computer that slept finds the timer late: then the connection is dead as well.
      if (Date.now() - heard > SILENCE_MS) abort.abort();
    }, 250);
    try {
      const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
      const response = await fetch("/api/stream", { headers, signal: abort.signal, cache: "no-store" });
      if (response.ok && response.body) {
        for await (const event of events(response.body)) {
          heard = Date.now();
          if (event.id) lastId = event.id;
          handlers.onState("live");
          handlers.onEvent(event.name, JSON.parse(event.data));
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError || abort.signal.aborted)) console.error(error);
    } finally {
      clearInterval(watch);
      abort.abort();
    }
    handlers.onState("lost");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/**
 * Yield the events of a body in the format of server-sent events.
 * @param {ReadableStream<Uint8Array>} body
 */
async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n").split("\n\n");
    rest = /** @type {string} */ (blocks.pop());
    for (const block of blocks) {
      const event = parse(block);
      if (event.data) yield event;
    }
  }
}

/** @param {string} block */
function parse(block) {
  const event = { id: "", name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, text] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === "id") event.id = text;
    else if (field === "event") event.name = text;
    else if (field === "data") event.data += text;
  }
  return event;
}
