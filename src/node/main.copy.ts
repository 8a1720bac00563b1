import { runNetworkCopy } from './transfers/network-copy.program.js';

/** The program that a node starts for each disk copied across a network; not for direct use. */
process.exitCode = await runNetworkCopy(process.argv.slice(2));
// Abandon connection attempts and other pending work, which serve no purpose now.
process.exit();
