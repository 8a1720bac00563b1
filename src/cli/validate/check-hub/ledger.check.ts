import { openCheckpoint, readCheckpoint } from '../../../lib/ledger/checkpoint.js';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../lib/ledger/merkle-tree.js';
import { parseVerifier } from '../../../lib/ledger/signed-note.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';
import type { Repository } from '../../api/answers.js';
import type { HubApi } from '../../api/hub-api.client.js';
import { type Check, fail, pass, type Verdict, worst } from '../model/check.plan.js';

interface Tree {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** Whether the hub's history still is the one that its repositories have witnessed. A database that was put back has a shorter one, or another. */
export function ledgerCheck(hub: HubApi): Check {
  return {
    id: 'ledger',
    role: 'hub',
    title: 'the ledger, against the manifests of the repositories',
    run: async () => {
      const tree = await newestTree(hub);
      if (tree === null) return pass('it is empty');
      const { repositories } = await hub.call<{ repositories: Repository[] }>('GET', '/repositories?limit=1000');
      const found: Verdict[] = [];
      let witnesses = 0;
      for (const { name, path } of repositories) {
        // A repository that cannot be read is reported by its own check.
        const witness = await newestWitness(path, tree.origin).catch(() => null);
        if (witness === null) continue;
        witnesses += 1;
        const problem = await disagreement(hub, tree, witness);
        if (problem === null) continue;
        const remedy =
          'Was the database put back from a dump? Then restore a newer dump, or import the restore points; and keep the repositories as evidence: docs/ledger.md.';
        found.push(fail(`${witness.folder} in the repository "${name}" ${problem}`, remedy));
      }
      return worst(found, `it covers ${tree.size} events, and the newest manifests of ${witnesses} repositories agree`);
    },
  };
}

/** Proves one of the hub's newest events by its own key. @returns null: there are no events @throws HubRefusalError; NoteError; Error if the proof is wrong */
async function newestTree(hub: HubApi): Promise<Tree | null> {
  // The newest event may not be in the ledger yet.
  const newest = (await hub.call<{ events: { event_id: string }[] }>('GET', '/audit/events?limit=2')).events.at(-1);
  if (newest === undefined) return null;
  const { key } = await hub.call<{ key: string }>('GET', '/ledger/key');
  const { leaf, leaf_index, proof, checkpoint } = await hub.call<{ leaf: string; leaf_index: number; proof: string[]; checkpoint: string }>(
    'GET',
    `/ledger/proofs/inclusion?event_id=${newest.event_id}`,
  );
  const { origin, size, root } = openCheckpoint(checkpoint, [parseVerifier(key)]);
  if (!verifyInclusion(leafHash(Buffer.from(leaf)), leaf_index, size, decoded(proof), root)) {
    throw new Error(`the ledger does not prove event ${newest.event_id}; GET /audit/verify names the first event that differs`);
  }
  return { origin, size, root };
}

/** The checkpoint of this hub that covers the most events. */
async function newestWitness(path: string, origin: string): Promise<(Tree & { readonly folder: string }) | null> {
  const points = await new RepositoryFiles().listRestorePoints(path);
  const witnesses = points.flatMap(({ folder, manifest }) => {
    const note = manifest?.ledger_checkpoint ?? null;
    return note === null ? [] : [{ ...readCheckpoint(note), folder }];
  });
  return witnesses.filter((witness) => witness.origin === origin).sort((a, b) => b.size - a.size)[0] ?? null;
}

/** @returns null: the hub's history begins with that of the witness */
async function disagreement(hub: HubApi, tree: Tree, { size, root }: Tree): Promise<string | null> {
  if (size > tree.size) return `knows ${size} events, but the hub has only ${tree.size}: its history was put back`;
  if (size === 0) return null;
  const { proof } = await hub.call<{ proof: string[] }>('GET', `/ledger/proofs/consistency?from=${size}&to=${tree.size}`);
  if (verifyConsistency(size, tree.size, root, tree.root, decoded(proof))) return null;
  return `has witnessed ${size} events that the hub's history does not begin with: it was rewritten, or put back and continued`;
}

function decoded(hashes: readonly string[]): readonly Buffer[] {
  return hashes.map((hash) => Buffer.from(hash, 'base64'));
}
