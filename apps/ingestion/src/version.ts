/** The version that health, docs and logs name: the workspace's own. */
import manifest from '../../../package.json' with { type: 'json' };

export const VERSION: string = manifest.version;
