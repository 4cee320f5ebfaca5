/* The mathematics of the page: the planar map of infinite width, networks of finite width, their sharpness.

   Formulas, and for the planar map the order of operations, are those of theory/planar.py; the exact sharpness
   is that of theory/observables.py. No state is kept here. */
"use strict";

const mathematics = (() => {
  /** Coordinates beyond this count as diverged, as in simulations/planar.py. */
  const FAR = 1e100;
  /** 2x2 blocks on the diagonal of a reduced network: 2 BLOCKS rows and columns at most. */
  const BLOCKS = 8;
  /** Relative width of the bracket in which a sharpness is certified. */
  const TOLERANCE = 1e-13;

  // --- infinite width under muP ------------------------------------------------------------------------

  /** The planar map (a, p) -> (a, p) of one gradient-descent step, and what is known of it. */
  function planarMap(dimension, targetNorm, learningRate) {
    const c = 1 / dimension, kappa = Math.sqrt(c), s = targetNorm, rate = learningRate;
    const step = (a, p) => {
      const r = a - s, second = rate * rate * c * (r * r);
      return [a - 2 * rate * p * r + second * a, p - 2 * rate * c * a * r + second * p];
    };
    const sharpness = (a, p) => {
      // p^2 + c (a - s)(3a - s), as a sum that no cancellation spoils near p = kappa |a|
      const square = (p - kappa * a) * (p + kappa * a) + c * ((2 * a - s) * (2 * a - s));
      const along = p + Math.sqrt(Math.max(square, 0));
      return dimension === 1 ? along : Math.max(along, largestRootAcross(p, kappa * Math.abs(a - s), c));
    };
    return {
      c, kappa, s, rate, dimension, step, sharpness,
      mu: (rate * s) / Math.sqrt(dimension),
      edge: s > 0 ? Math.sqrt(dimension) / s : Infinity,
      // minimizers are stable below this p: along the target, and across it
      highestStable: dimension === 1 ? 1 / rate : Math.min(1 / rate, 2 / rate - c),
      divergence: (4 * dimension) / (1 + Math.sqrt(1 + 4 * dimension * s * s)),
      ntk: (p) => (dimension === 1 ? 2 * p : Math.max(p, c) + p),
      residual: (a) => kappa * Math.abs(a - s),
    };
  }

  /** Largest root of (lambda - p)(lambda^2 - rho^2) = gap lambda^2: Viete's cosine, then Newton's method. */
  function largestRootAcross(p, rho, gap) {
    const third = (p + gap) / 3, radius = Math.sqrt(third * third + (rho * rho) / 3);
    const cosine = (third ** 3 + (third / 2 - p / 2) * rho * rho) / radius ** 3;
    let root = third + 2 * radius * Math.cos(Math.acos(Math.min(1, Math.max(-1, cosine))) / 3);
    for (let count = 0; count < 3; count++) {
      const inner = (root - rho) * (root + rho);
      root -= ((root - p) * inner - gap * root * root) / (inner + 2 * root * (root - p - gap));
    }
    return root;
  }

  /** Empty curves of a run, NaN from the step of divergence on. */
  function emptyRun(steps) {
    const run = { diverged_step: -1 };
    for (const name of ["a", "p", "second_layer", "loss", "sharpness", "ntk_sharpness", "residual_sharpness"]) {
      run[name] = new Float64Array(steps + 1).fill(NaN);
    }
    return run;
  }

  /** The orbit of infinite width from initialisation, a = 0 and p = 1/D. */
  function planarRun(map, steps) {
    const run = emptyRun(steps);
    let [a, p] = [0, map.c];
    for (let step = 0; step <= steps; step++) {
      if (!(Math.abs(a) <= FAR && Math.abs(p) <= FAR)) {
        run.diverged_step = step;
        return run;
      }
      run.a[step] = a;
      run.p[step] = run.second_layer[step] = p;
      run.loss[step] = 0.5 * ((a - map.s) * (a - map.s));
      run.sharpness[step] = map.sharpness(a, p);
      run.ntk_sharpness[step] = map.ntk(p);
      run.residual_sharpness[step] = map.residual(a);
      [a, p] = map.step(a, p);
    }
    return run;
  }

  // --- random numbers ----------------------------------------------------------------------------------

  /** mulberry32 (T. Ettinger): a stream of uniform numbers in (0, 1) from 32 bits of state, here of 53 bits each. */
  function uniforms(seed) {
    let state = seed >>> 0;
    const bits = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return (mixed ^ (mixed >>> 14)) >>> 0;
    };
    return () => ((bits() >>> 5) * 67108864 + (bits() >>> 6) + 0.5) / 9007199254740992;
  }

  /** A standard normal number (Box and Muller). */
  const normal = (uniform) => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

  /** A chi variable of `freedom` degrees: the root of a gamma variable (Marsaglia and Tsang 2000); 0 of none. */
  function chi(uniform, freedom) {
    if (freedom <= 0) return 0;
    if (freedom === 1) return Math.abs(normal(uniform));
    const d = freedom / 2 - 1 / 3, scale = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal(uniform), root = 1 + scale * x;
      if (root <= 0) continue;
      const cube = root ** 3;
      if (Math.log(uniform()) < 0.5 * x * x + d - d * cube + d * Math.log(cube)) return Math.sqrt(2 * d * cube);
    }
  }

  // --- networks of finite width under muP --------------------------------------------------------------

  /** A network drawn in law: rows (V; E along w*; E across it), columns neurons, over sqrt(N D).

      Rotations of both sides bring the Gaussian weights to block-bidiagonal form; kept are the first BLOCKS
      blocks, which is all of it for D < 2 BLOCKS or N <= 2 BLOCKS. Every entry has a stream of its own, so
      that a change of one size does not draw the others anew. */
  function drawNetwork(seed, dimension, width) {
    const size = { rows: Math.min(2 * BLOCKS, dimension + 1), columns: Math.min(2 * BLOCKS, width) };
    const scale = 1 / Math.sqrt(width) / Math.sqrt(dimension);
    const z = [];
    for (let row = 0; row < size.rows; row++) {
      z.push(new Float64Array(size.columns));
      const first = Math.max(0, 2 * Math.floor(row / 2) - (row % 2 === 0 ? 2 : 1));
      for (let column = first; column <= Math.min(row, size.columns - 1); column++) {
        const uniform = uniforms(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(64 * row + column + 1, 0x85ebca6b));
        uniform();
        // of a pair of rows the last entry is a chi of the columns left, the first one of the rows left
        const last = row === column, lead = column === row - 2;
        z[row][column] = scale * (last ? chi(uniform, width - row)
          : lead ? chi(uniform, dimension + 1 - row) : normal(uniform));
      }
    }
    return z;
  }

  const dot = (left, right) => {
    let sum = 0;
    for (let index = 0; index < left.length; index++) sum += left[index] * right[index];
    return sum;
  };

  /** The latent state (w, e, v) and the residual of a network of rows Z = [V; E]. */
  function latentState(z, map) {
    const n = z.length - 1, w = new Float64Array(n), e = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      w[i] = dot(z[i + 1], z[0]) / map.kappa;
      for (let j = 0; j <= i; j++) e[i * n + j] = e[j * n + i] = dot(z[i + 1], z[j + 1]);
    }
    const r = Float64Array.from(w);
    r[0] -= map.s;
    return { w, e, r, v: dot(z[0], z[0]) };
  }

  /** One gradient-descent step, Z+ = (I - eta0 kappa M) Z with M = [[0, r^T], [r, 0]], in place. */
  function stepNetwork(z, r, map) {
    const second = Float64Array.from(z[0]), rate = map.rate * map.kappa;
    for (let i = 0; i < r.length; i++) {
      const row = z[i + 1], change = rate * r[i];
      for (let k = 0; k < row.length; k++) {
        z[0][k] -= change * row[k];
        row[k] -= change * second[k];
      }
    }
  }

  /** A network's run from the start `z`, which is left as it is. */
  function networkRun(start, map, steps) {
    const run = emptyRun(steps), z = start.map((row) => Float64Array.from(row));
    const top = sharpnessTracker(z.length - 1), flat = sharpnessTracker(z.length - 1);
    const zero = new Float64Array(z.length - 1);
    for (let step = 0; step <= steps; step++) {
      const { w, e, r, v } = latentState(z, map), along = e[0], size = Math.abs(w[0]) + v + along;
      if (!(size <= FAR && dot(r, r) <= FAR * FAR)) {
        run.diverged_step = step;
        return run;
      }
      run.a[step] = w[0];
      run.p[step] = (v + along) / 2;
      run.second_layer[step] = v;
      run.loss[step] = 0.5 * dot(r, r);
      run.sharpness[step] = top(w, e, v, r, map.c);
      run.ntk_sharpness[step] = flat(w, e, v, zero, map.c);
      run.residual_sharpness[step] = map.kappa * Math.sqrt(dot(r, r));
      stepNetwork(z, r, map);
    }
    return run;
  }

  // --- exact sharpness of a latent state ---------------------------------------------------------------

  /** A function (w, e, v, r, c) -> lambda_max(gamma^2 H), started from the eigenvector of its last call.

      Above rho = kappa |r| the sharpness is the largest lambda at which the symmetric matrix

          A(lambda) = (lambda - v)(1 - rho^2/lambda^2) - e - c/lambda (r w^T + w r^T) - c v/lambda^2 r r^T

      is singular, and A is positive definite beyond it. Inverse iteration finds it; Cholesky's factorisation
      just above certifies that nothing larger was missed, or else bisection finds it. */
  function sharpnessTracker(n) {
    const factor = new Float64Array(n * n), x = new Float64Array(n).fill(1 / Math.sqrt(n));
    const image = new Float64Array(n), solution = new Float64Array(n), generic = x.map((_, i) => Math.cos(1 + i * i));
    return (w, e, v, r, c) => {
      const terms = { n, w, e, v, r, c, rho: Math.sqrt(c * dot(r, r)) };
      let floor = 0;
      for (let count = 0; count < 12; count++) {
        const value = rayleighRoot(terms, x, image);
        if (!(value > 0)) break;
        if (factorise(terms, value * (1 + TOLERANCE), factor)) {
          improve(factor, n, x, solution);
          return Math.max(value, rayleighRoot(terms, x, image));
        }
        floor = value;
        const above = value + 1.01 * imageNorm(terms, value, x, image) + value * TOLERANCE;
        if (factorise(terms, above, factor)) improve(factor, n, x, solution);
        else {
          // x belongs to an eigenvalue further down: look for the largest from a generic direction
          factorise(terms, bisect(terms, floor, factor, 1e-3), factor);
          for (let i = 0; i < n; i++) x[i] += generic[i];
          for (let again = 0; again < 3; again++) improve(factor, n, x, solution);
        }
      }
      return bisect(terms, floor, factor, TOLERANCE);
    };
  }

  /** One inverse iteration on a unit vector, in place. */
  function improve(factor, n, x, solution) {
    solve(factor, n, x, solution);
    const norm = Math.sqrt(dot(solution, solution));
    for (let i = 0; i < n; i++) x[i] = solution[i] / norm;
  }

  /** Lower triangle of A(lambda) factorised as L L^T; false where A is not positive definite. */
  function factorise({ n, w, e, v, r, c, rho }, value, factor) {
    const diagonal = (value - v) * (1 - (rho / value) * (rho / value));
    const once = c / value, twice = (c * v) / (value * value);
    for (let i = 0; i < n; i++) {
      const row = i * n;
      for (let j = 0; j <= i; j++) {
        let sum = -e[row + j] - once * (r[i] * w[j] + w[i] * r[j]) - twice * r[i] * r[j];
        if (i === j) sum += diagonal;
        const other = j * n;
        for (let k = 0; k < j; k++) sum -= factor[row + k] * factor[other + k];
        if (i > j) factor[row + j] = sum / factor[other + j];
        else if (sum > 0) factor[row + j] = Math.sqrt(sum);
        else return false;
      }
    }
    return true;
  }

  function solve(factor, n, right, solution) {
    for (let i = 0; i < n; i++) {
      let sum = right[i];
      for (let k = 0; k < i; k++) sum -= factor[i * n + k] * solution[k];
      solution[i] = sum / factor[i * n + i];
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = solution[i];
      for (let k = i + 1; k < n; k++) sum -= factor[k * n + i] * solution[k];
      solution[i] = sum / factor[i * n + i];
    }
  }

  /** The root lambda of x.A(lambda) x = 0 above rho, by Newton's method on a cubic from Lemma 5.2's bound.

      Leaves e x in `image`. */
  function rayleighRoot({ n, w, e, v, r, c, rho }, x, image) {
    for (let i = 0; i < n; i++) image[i] = dot(e.subarray(i * n, (i + 1) * n), x);
    const rx = dot(r, x), alpha = dot(image, x), beta = 2 * c * rx * dot(w, x), gamma = c * v * rx * rx;
    let value = alpha + v + rho;
    for (let count = 0; count < 80; count++) {
      const inner = (value - rho) * (value + rho), outer = value - v;
      const cubic = outer * inner - (alpha * value + beta) * value - gamma;
      const next = value - cubic / (inner + 2 * value * (outer - alpha) - beta);
      if (!(next < value)) break;
      value = next;
    }
    return value;
  }

  /** |A(lambda) x| for a unit vector x with e x = image. */
  function imageNorm({ n, w, v, r, c, rho }, value, x, image) {
    const diagonal = (value - v) * (1 - (rho / value) * (rho / value));
    const rx = dot(r, x), wx = dot(w, x);
    let square = 0;
    for (let i = 0; i < n; i++) {
      const entry = diagonal * x[i] - image[i]
        - (c / value) * (r[i] * wx + w[i] * rx) - ((c * v) / (value * value)) * r[i] * rx;
      square += entry * entry;
    }
    return Math.sqrt(square);
  }

  /** Just above the largest lambda at which A is singular, from a value not above it. */
  function bisect(terms, floor, factor, tolerance) {
    let trace = 0;
    for (let i = 0; i < terms.n; i++) trace += terms.e[i * terms.n + i];
    let low = Math.max(floor, terms.rho), high = trace + terms.v + terms.rho;
    while (high - low > tolerance * high) {
      const middle = (low + high) / 2;
      if (middle === low || middle === high) break;
      if (factorise(terms, middle, factor)) high = middle;
      else low = middle;
    }
    return high;
  }

  return { planarMap, planarRun, drawNetwork, networkRun };
})();
