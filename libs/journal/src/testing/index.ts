export { createVolatileDisk, type VolatileDisk } from './volatile-disk.ts';
