import { runNetworkCopy } from './transfers/network-copy.program.js';

/** The program that a node starts for each disk which it copies across a network; not for people. */
process.exitCode = await runNetworkCopy(process.argv.slice(2));
// Attempts to connect and the like that are still under way are of no use any more.
process.exit();
