import { CreateSchemaOfPastReadModels1795257000031 } from './0031-create-schema-of-past-read-models.js';
import { CreateEventStore1795257000001 } from './0001-create-event-store.js';
import { CreateReadModels1795257000002 } from './0002-create-projection-checkpoints.js';
import { IndexReadModelsForLongHistories1795257000024 } from './0024-create-projection-tallies.js';
import { RecordShapesOfReadModels1795257000030 } from './0030-record-shapes-of-read-models.js';
import { CreateHubLease1795257000040 } from './0040-create-hub-lease.js';
import { RecordWitnessesOfReadModels1795257000041 } from './0041-record-witnesses-of-read-models.js';

/** All migrations, listed explicitly: a glob would find them in the sources, but not in every build of the program. */
export const allMigrations = [
  CreateSchemaOfPastReadModels1795257000031,
  CreateEventStore1795257000001,
  CreateReadModels1795257000002,
  IndexReadModelsForLongHistories1795257000024,
  RecordShapesOfReadModels1795257000030,
  CreateHubLease1795257000040,
  RecordWitnessesOfReadModels1795257000041,
];
