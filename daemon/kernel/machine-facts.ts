/** One module of memory, as the firmware describes it. */
export interface MemoryModule {
  slot: string;
  bytes: number;
  /** `DDR4`, or empty. */
  kind: string;
  mhz?: number;
  ecc?: boolean;
}

/** A disk as a whole. */
export interface InventoryDisk {
  name: string;
  kind: 'NVMe' | 'SSD' | 'HDD' | 'other';
  bytes: number;
  model: string;
  /** How it is attached: `nvme`, `sata`, `usb`; empty where the kernel does not tell. */
  transport: string;
  removable: boolean;
}

/** What the machine is made of. No serial numbers: everybody may read it. */
export interface MachineFacts {
  system: { maker: string; model: string; virtual: boolean };
  cpu: { model: string; cores: number; physicalCores: number; maxMhz?: number };
  memory: { totalBytes: number; modules: MemoryModule[] };
  disks: InventoryDisk[];
}
