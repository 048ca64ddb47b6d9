// The engine of this page; see engine.js.
export { connect } from "./server-engine.js";
