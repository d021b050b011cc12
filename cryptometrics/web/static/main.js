/** The start of the page: theme, stream, and the page that the address names. */

import * as alerts from "./alerts.js";
import * as connection from "./connection.js";
import * as market from "./market.js";
import * as pair from "./pair.js";
import * as pipeline from "./pipeline.js";
import * as risk from "./risk.js";
import * as router from "./router.js";
import * as theme from "./theme.js";

theme.start();
router.start([
  { path: /^\/$/, title: "Market", page: market.show },
  { path: /^\/pair\/([^/]+)\/([^/]+)$/, title: "Pair", page: pair.show },
  { path: /^\/risk$/, title: "Risk", page: risk.show },
  { path: /^\/alerts$/, title: "Alerts", page: alerts.show },
  { path: /^\/pipeline$/, title: "Pipeline", page: pipeline.show },
]);
connection.start();
