/**
 * SVG figures of schedules, runs, spectra and bandwidth, and HTML reports.
 *
 * @module
 */

export { type BandwidthPoint, bandwidthFigure } from "./bandwidth-figure.js";
export { downsample, type Point } from "./downsample.js";
export { endOf, headingOf, labelOf } from "./labels.js";
export { gradientNormFigure, lossFigure, type RecordedEvaluation, type RecordedStep } from "./loss-figure.js";
export { htmlPage, type Row, type Section } from "./page.js";
export { type RunReport, runReport } from "./run-report.js";
export { curve, familyFigure, scheduleFigure } from "./schedule-figure.js";
export { Smoother, smoothingSpan } from "./smooth.js";
export { type SpectrumFigure, spectrumFigure } from "./spectrum-figure.js";
