/** The stream of the server: checked for silence, and resumed where it broke off. */

const EVENTS = ["snapshot", "update", "beat"];
const SILENCE_MS = 2500; // the server sends an event every second; a loss must be visible within 3 s
const RETRY_MS = 1000;

/**
 * Follow the stream for as long as the page is open.
 *
 * An EventSource gives up after an answer that is an error, and never notices a silent connection. So each
 * attempt has a new one, whose address says which event was the last.
 * @param {(name: string, data: any) => void} onEvent
 * @param {() => void} onLost called after each attempt that has failed
 */
export function follow(onEvent, onLost) {
  let lastId = "";
  const open = () => {
    let heardAt = Date.now();
    const source = new EventSource(lastId ? `/api/stream?after=${lastId}` : "/api/stream");
    const lose = () => {
      source.close();
      clearInterval(watch);
      onLost();
      setTimeout(open, RETRY_MS);
    };
    // After a computer has slept, this timer comes late; the connection is dead by then.
    const watch = setInterval(() => Date.now() - heardAt > SILENCE_MS && lose(), 250);
    source.onerror = lose;
    for (const name of EVENTS) {
      source.addEventListener(name, ({ data, lastEventId }) => {
        [lastId, heardAt] = [lastEventId, Date.now()];
        onEvent(name, JSON.parse(data));
      });
    }
  };
  open();
}
