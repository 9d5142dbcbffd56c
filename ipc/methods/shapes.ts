import type * as v from 'valibot';
import type { plan } from '../method.ts';
import type { basePage } from './base.ts';
import type { changeEvent, changeLine, changePage } from './change.ts';
import type { fastPage } from './fast.ts';
import type { keyPage } from './key.ts';
import type { decision, memoryPage, sidePage } from './partitions.ts';
import type { difference, personaPage } from './persona.ts';
import type { generation, grants, slotPage } from './slot.ts';
import type { input, progress } from './values.ts';

// The shapes that results are made of, as types only: both sides may import them.
export type PlanView = v.InferOutput<typeof plan>;
export type BasePage = v.InferOutput<typeof basePage>;
export type ChangeLine = v.InferOutput<typeof changeLine>;
export type ChangePage = v.InferOutput<typeof changePage>;
export type ChangeEvent = v.InferOutput<typeof changeEvent>;
export type KeyPage = v.InferOutput<typeof keyPage>;
export type PersonaPage = v.InferOutput<typeof personaPage>;
export type Difference = v.InferOutput<typeof difference>;
export type Generation = v.InferOutput<typeof generation>;
export type Grants = v.InferOutput<typeof grants>;
export type SlotPage = v.InferOutput<typeof slotPage>;
export type Input = v.InferOutput<typeof input>;
export type Progress = v.InferOutput<typeof progress>;
export type SidePage = v.InferOutput<typeof sidePage>;
export type Decision = v.InferOutput<typeof decision>;
export type FastPage = v.InferOutput<typeof fastPage>;
export type MemoryPage = v.InferOutput<typeof memoryPage>;
