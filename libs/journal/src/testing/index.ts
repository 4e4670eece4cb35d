export {
  appendKeys,
  createOpener,
  DATA_FOLDER,
  journalFolder,
  knows,
  lastSegment,
  newDisk,
  type Opened,
  openOn,
  readKeys,
  SEGMENT_BYTES,
  slowClock,
} from './bench.ts';
export { createVolatileDisk, type VolatileDisk } from './volatile-disk.ts';
