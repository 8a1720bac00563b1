import { instant, integer, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type NbdPortState = 'free' | 'allocated' | 'occupied';

/** A port that no event has named yet has no row; it is free. */
export const NbdPortReadModel = readModel({
  name: 'nbd_ports',
  key: 'port',
  columns: {
    port: integer(),
    /** `occupied`: in use by a program that is not ours when the port was last checked. */
    state: text<NbdPortState>(),
    job_id: text().nullable(),
    export_name: text().nullable(),
    /** When the port entered this state. */
    since: instant(),
  },
});
export type NbdPortReadModel = EntityOf<typeof NbdPortReadModel>;
export type NbdPortRow = RowOf<typeof NbdPortReadModel>;
