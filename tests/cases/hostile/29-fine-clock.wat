;; case: 29
;; does: looks at the clock a hundred thousand times and breaks off where it sees a part of a millisecond
;; when: predict
;; sandbox: timeout_ms = 5000
;; expect: 200
;; within_ms: 20000

(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
(data (i32.const 400) "{}")
(func {before}
    (local $left i32)
    (local.set $left (i32.const 100000))
    (loop
        (if (i64.ne (i64.rem_u (call $now) (i64.const 1000000)) (i64.const 0)) (then unreachable))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if 0 (local.get $left)))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
