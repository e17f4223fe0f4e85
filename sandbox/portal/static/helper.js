// Loaded under the portal's other name. It says to a sibling frame what the page tells it, so that the
// frame hears a well-formed answer from a window and an origin that it must not trust.
addEventListener("message", (event) => {
  if (event.source !== parent || typeof event.data !== "object") return;
  parent[event.data.index].postMessage(event.data.text, "*");
});
