/** What the command line does in the name of a node that may not be running: enrol it, and call its hub. */
export { HubClient, HubRefusedNodeError } from './hub-link/hub-client.js';
export { enrolNode, type EnrolledNode, EnrolmentError } from './hub-link/enrol-node.js';
