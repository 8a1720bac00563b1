import { CreateEventStore1795257000001 } from './0001-create-event-store.js';
import { CreateReadModels1795257000002 } from './0002-create-read-models.js';
import { CreateRestoreMountsReadModel1795257000003 } from './0003-create-restore-mounts-read-model.js';
import { CreateWholeDiskRestores1795257000004 } from './0004-create-whole-disk-restores.js';
import { ShowDamageOfBackups1795257000005 } from './0005-show-damage-of-backups.js';
import { ShowRestoredVms1795257000006 } from './0006-show-restored-vms.js';
import { ShowBootChecks1795257000007 } from './0007-show-boot-checks.js';
import { ShowEnrolmentOfNodes1795257000008 } from './0008-show-enrolment-of-nodes.js';
import { ShowQuiescingOfBackups1795257000009 } from './0009-show-quiescing-of-backups.js';
import { ShowTunnelsOfNodes1795257000010 } from './0010-show-tunnels-of-nodes.js';
import { IndexReadModelsForLongHistories1795257000024 } from './0024-index-read-models-for-long-histories.js';
import { ShowProblemsOfVms1795257000025 } from './0025-show-problems-of-vms.js';
import { KeepGinIndexesCurrent1795257000027 } from './0027-keep-gin-indexes-current.js';
import { IndexDamagedBackups1795257000029 } from './0029-index-damaged-backups.js';

/** All migrations, listed explicitly: a glob would find them in the sources, but not in every build of the program. */
export const allMigrations = [
  CreateEventStore1795257000001,
  CreateReadModels1795257000002,
  CreateRestoreMountsReadModel1795257000003,
  CreateWholeDiskRestores1795257000004,
  ShowDamageOfBackups1795257000005,
  ShowRestoredVms1795257000006,
  ShowBootChecks1795257000007,
  ShowEnrolmentOfNodes1795257000008,
  ShowQuiescingOfBackups1795257000009,
  ShowTunnelsOfNodes1795257000010,
  IndexReadModelsForLongHistories1795257000024,
  ShowProblemsOfVms1795257000025,
  KeepGinIndexesCurrent1795257000027,
  IndexDamagedBackups1795257000029,
];
