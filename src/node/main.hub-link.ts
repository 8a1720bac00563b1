/** Operations that the command line performs for a node that may not be running: enrol it, and call its hub. */
export { HubClient, HubRefusedNodeError, NotTheHubError } from './hub-link/hub-client.js';
export { enrolNode, type EnrolledNode, EnrolmentError } from './hub-link/enrol-node.js';
