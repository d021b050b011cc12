/**
 * What `measure_page.py` adds to a page before its own scripts run: `window.measure`.
 *
 * It sees which requests of the page are open, and can put events of its own into the page's stream.
 */
(() => {
  const EVENT_MS = 200; // the server sends at most five events a second
  const fetchFromServer = window.fetch.bind(window);
  const requests = { begun: 0, ended: 0 };
  /** @type {EventSource | null} */
  let stream = null;

  const nextFrame = () => new Promise(requestAnimationFrame);
  /** Resolve after the next frame was painted: a message is handled after the frame of its callback. */
  const painted = () =>
    nextFrame().then(
      () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => {
            port1.close();
            resolve(undefined);
          };
          port2.postMessage(null);
        }),
    );

  window.EventSource = class extends EventSource {
    /** @param {string} address */
    constructor(address) {
      super(address);
      stream = this;
    }
  };

  window.fetch = async (address, options) => {
    requests.begun += 1;
    try {
      const answer = await fetchFromServer(address, options);
      return new Response(await answer.arrayBuffer(), answer);
    } finally {
      requests.ended += 1;
    }
  };

  /**
   * Yield updates in which every market has a new quote, as the server sends them.
   * @param {any} live the module of the page that keeps the newest rows
   * @param {number} count of updates
   */
  function* updates(live, count) {
    const rows = [...live.pairs.values()];
    const start = Math.max(...rows.map((row) => Date.parse(row.timestamp)));
    for (let n = 1; n <= count; n += 1) {
      const at = new Date(start + n * EVENT_MS).toISOString();
      const move = 1 + Math.sin(n / 50) / 1000;
      const price = (/** @type {string} */ text) => (Number(text) * move).toFixed(text.split(".")[1]?.length ?? 0);
      const pairs = rows.map((row) => ({
        ...row,
        ...{ bid: price(row.bid), ask: price(row.ask), mid_price: price(row.mid_price) },
        ...{ timestamp: at, ticks: row.ticks + n },
      }));
      const pipeline = { ...live.now.pipeline, metrics: live.now.pipeline.metrics + n * pairs.length };
      yield JSON.stringify({ as_of: at, pairs, pipeline });
    }
  }

  Object.assign(window, {
    measure: {
      /** Milliseconds of the wall clock at each paint, with the time of the newest quote of each pair then. */
      /** @type {[number, [pair: string, timestamp: string][]][]} */
      paints: [],

      /** Note from now on which quotes are painted when. */
      async recordPaints() {
        const live = await import("/static/live.js");
        live.onChange(async (/** @type {{changed: Set<string>}} */ { changed }) => {
          const rows = [...changed].map((market) => live.pairs.get(market)).filter(Boolean);
          const quotes = rows.map(({ pair, timestamp }) => [pair, timestamp]);
          await painted();
          if (quotes.length) this.paints.push([Date.now(), quotes]);
        });
      },

      /**
       * Wait until so many requests to the server were answered and none is open, and the result is painted.
       * @param {number} count
       * @returns {Promise<number>} milliseconds since the page was asked for
       */
      async settled(count) {
        while (requests.begun < count || requests.ended < requests.begun) await nextFrame();
        await painted();
        await painted(); // a chart draws in a frame of its own
        return performance.now();
      },

      /** @returns {number} how many requests were sent, without the stream */
      requests: () => requests.begun,

      /** Put updates into the stream, so many before each frame. @param {number} count @param {number} perFrame */
      async feed(count, perFrame) {
        let fed = 0;
        for (const data of updates(await import("/static/live.js"), count)) {
          stream.dispatchEvent(new MessageEvent("update", { data }));
          if (++fed % perFrame === 0) await nextFrame();
        }
        await painted();
      },
    },
  });
})();
