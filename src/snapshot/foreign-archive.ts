// Archives that are not ours: told apart by their first header only, so that the refusal can say what was found.
import { RequestError } from '../base/errors.ts';
import { badSnapshot } from './archive-error.ts';

/** First members of Qdrant's collection and shard snapshots. */
const qdrantNames = [
  /^(?:\.\/)?\d+\/?$/,
  /^(?:\.\/)?(?:\d+\/)?(?:segments|wal)\//,
  /^(?:\.\/)?(?:\d+\/)?(?:segments_manifest|newest_clocks|oldest_clocks|applied_seq|replica_state|shard_config)\.json$/,
  /^(?:\.\/)?(?:version\.info|config\.json|shard_key_mapping\.json|payload_index\.json)$/,
  /^(?:\.\/)?(?:\d+\/)?(?:segments|wal)\/?$/,
];

/** The refusal of an archive whose first block is not the header of a `snapshot.json`. */
export function foreignArchive(firstBlock: Buffer): RequestError {
  const end = firstBlock.indexOf(0);
  const name = firstBlock.toString('latin1', 0, end < 0 || end > 100 ? 100 : end);
  const isTar = firstBlock.toString('latin1', 257, 262) === 'ustar';
  if (isTar && qdrantNames.some((pattern) => pattern.test(name))) {
    return new RequestError('bad-request', 'Invalid snapshot: this archive was made by Qdrant, and this version restores snapshots made by nearkeep only');
  }
  return badSnapshot('archive', isTar ? 'is a tar file, but not a nearkeep snapshot' : 'is not a nearkeep snapshot', 0);
}
