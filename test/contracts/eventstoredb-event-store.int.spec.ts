import { EventStoreDbEventStore } from '../../src/hub/store/event-store/eventstoredb/eventstoredb-event-store.js';
import { EventStoreDbStandIn } from '../support/eventstoredb-stand-in.js';
import { eventStoreContract, type EventStoreUnderTest } from './event-store.contract.js';
import { requireKernel } from '../support/require-tools.js';

const silent = { log: () => undefined, warn: () => undefined };

function adaptersOf(url: string, caFile: string, stop: () => void): EventStoreUnderTest {
  const [store, another] = [new EventStoreDbEventStore({ url, caFile }, silent), new EventStoreDbEventStore({ url, caFile }, silent)];
  return {
    store,
    another,
    hidesRepetitions: true,
    bytesPerTypeCharacter: 2,
    close: async () => {
      await Promise.all([store.close(), another.close()]);
      stop();
    },
  };
}

eventStoreContract('EventStoreDB, stand-in', async () => {
  const server = await EventStoreDbStandIn.start();
  return adaptersOf(server.url, '', () => {
    server.stop();
  });
});

const realUrl = process.env['EVENTSTOREDB_TEST_URL'] ?? '';
if (realUrl !== '') {
  eventStoreContract('EventStoreDB, a real server', () =>
    Promise.resolve(adaptersOf(realUrl, process.env['EVENTSTOREDB_TEST_CA_FILE'] ?? '', () => undefined)),
  );
} else {
  const gate = requireKernel('EVENTSTOREDB_TEST_URL names no server for the contract of the event store');
  gate.describe('event store contract: EventStoreDB, a real server', () => {
    gate.it('is held', () => undefined);
  });
}
