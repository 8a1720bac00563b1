import { InMemoryEventStore } from '../support/in-memory-event-store.js';
import { eventStoreContract } from './event-store.contract.js';

eventStoreContract('memory', () => {
  const store = new InMemoryEventStore();
  return Promise.resolve({ store, another: store, close: () => Promise.resolve() });
});
