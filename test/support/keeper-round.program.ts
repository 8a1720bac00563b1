/**
 * Looks once at a repository as the keeper does, with clocks as given. Arguments: repository, folder of the keeper's state, wall clock and boot time in
 * milliseconds. A test kills it through the tools that it calls.
 */
import { loggerFor } from '../../src/lib/logging/logger.js';
import { Keeper } from '../../src/keeper/keeper.js';
import { KeeperState } from '../../src/keeper/keeper-state.store.js';

const [repository = '', state = '', wall = '0', boot = '0'] = process.argv.slice(2);
const reading = { wall_ms: Number(wall), boot_ms: Number(boot), boot_id: 'boot' };
await new Keeper({ repositories: [repository], lockDays: 0, longestLockDays: 3650 }, new KeeperState(state), () => reading, loggerFor('Keeper')).round();
