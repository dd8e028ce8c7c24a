;; case: 25
;; does: is two components, one of which hands texts to the other: that compiles, and is no plugin
;; when: upload
;; expect: 422 wrong_world
;; within_ms: 20000

(component
    (component $callee
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "length") (param i32 i32) (result i32) (local.get 1)))
        (core instance $i (instantiate $m))
        (func (export "length") (param "text" string) (result u32)
            (canon lift (core func $i "length") (memory $i "memory") (realloc (func $i "realloc")))))
    (component $caller
        (import "length" (func $length (param "text" string) (result u32)))
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (core func $length (canon lower (func $length) (memory $libc "memory")))
        (core module $m
            (import "" "length" (func $length (param i32 i32) (result i32)))
            (func (export "run") (result i32) (call $length (i32.const 0) (i32.const 5))))
        (core instance $i (instantiate $m (with "" (instance (export "length" (func $length))))))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))
    (instance $callee (instantiate $callee))
    (instance $caller (instantiate $caller (with "length" (func $callee "length"))))
    (export "run" (func $caller "run")))
