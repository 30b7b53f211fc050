! The Fortran modules with a private manager: leases, calls and bad arguments.
module continuations
  use, intrinsic :: iso_c_binding
  use sublet_f08
  implicit none
contains
  subroutine count_up(reply, context) bind(c)
    type(sublet_reply), intent(in) :: reply
    type(c_ptr), value :: context
    integer, pointer :: ended
    call c_f_pointer(context, ended)
    if (reply%code == sublet_success) ended = ended + 1
  end subroutine
  subroutine ignore_ending(left_ms, reason, leaving, context) bind(c)
    integer(c_int64_t), value :: left_ms
    character(kind=c_char), intent(in) :: reason(*)
    integer(c_int), value :: leaving
    type(c_ptr), value :: context
    if (left_ms < 0 .and. leaving < 0 .and. c_associated(context)) print *, reason(1)
  end subroutine
  subroutine ignore_loss(reason, context) bind(c)
    character(kind=c_char), intent(in) :: reason(*)
    type(c_ptr), value :: context
    if (c_associated(context)) print *, reason(1)
  end subroutine
  ! A part of a loop, slower than on workers.
  subroutine add_one_here(first, count, in, out, context) bind(c)
    integer(c_size_t), value :: first, count
    type(c_ptr), value :: in, out, context
    real(c_double), pointer :: from(:), to(:)
    integer, pointer :: parts
    integer(c_size_t) :: i
    integer, volatile :: turns
    call c_f_pointer(in, from, [count])
    call c_f_pointer(out, to, [count])
    call c_f_pointer(context, parts)
    if (first >= 0) parts = parts + 1
    do i = 1, count
      turns = 0
      do while (turns < 2000)
        turns = turns + 1
      end do
      to(i) = from(i) + 1
    end do
  end subroutine
end module continuations

program calls_test
  use, intrinsic :: iso_c_binding
  use checks
  use continuations
  use sublet_f08
  implicit none
  integer, parameter :: most = 30
  type(sublet_options) :: options
  type(sublet_session) :: session
  type(sublet_lease) :: lease
  type(sublet_function) :: add_one, total

  call check_ok(sublet_options_set(options, 'private_oversubscribe', '16'), 'an option')
  call check_ok(sublet_options_set(options, 'arena_bytes', '16777216'), 'an option')
  call check_code(sublet_err_option, sublet_options_set(options, 'no_such', 'x'), 'a wrong option')
  call check_ok(sublet_session_open(session, options), 'a session')
  call check_ok(sublet_lease_open(session, 2, lease, options), 'a lease')
  if (failures > 0) stop 1
  call check_ok(sublet_function_open(lease, FORTRAN_FUNCTIONS, 'add_one', add_one), 'add_one')
  call check_ok(sublet_function_open(lease, FORTRAN_FUNCTIONS, 'total', total), 'total')

  call check_lease()
  call check_calls()
  call check_async()
  call check_batch()
  call check_loop()
  call check_grants()
  call check_bad_arguments()
  call check_release()
  if (failures > 0) stop 1

contains

  subroutine check_lease()
    character(len=:), allocatable :: address
    type(sublet_worker_info) :: worker
    integer(c_int64_t) :: id, before, after
    integer(c_size_t) :: workers
    call check_ok(sublet_session_manager(session, address), 'the manager')
    call check(len(address) > 0, 'the manager has an address')
    call check_ok(sublet_lease_id(lease, id), 'the id')
    call check_ok(sublet_lease_workers(lease, workers), 'the number of workers')
    call check(workers == 2, 'there are two workers')
    call check_ok(sublet_lease_worker(lease, 1_c_size_t, worker), 'a worker')
    call check(worker%node_name(1) /= c_null_char, 'the worker has a node')
    call check_ok(sublet_lease_expires_at(lease, before), 'the end')
    call check_ok(sublet_lease_extend(lease, 7200_c_int64_t), 'an extension')
    call check_ok(sublet_lease_expires_at(lease, after), 'the end')
    call check(after > before, 'the lease lasts longer')
    call check_ok(sublet_lease_on_ending(lease, ignore_ending, c_null_ptr), 'a callback')
    call check_ok(sublet_lease_on_lost(lease, ignore_loss, c_null_ptr), 'a callback')
  end subroutine

  subroutine check_calls()
    real(c_double) :: one, two, matrix(3, 2), result(3, 2)
    integer(c_int64_t) :: numbers(4), answer
    type(sublet_reply) :: reply
    one = 1
    call check_ok(sublet_call(add_one, one, c_sizeof(one), two, c_sizeof(two), reply), 'a scalar')
    call check(two == 2 .and. reply%size == 8, 'a scalar comes back')
    matrix = 3
    call check_ok(sublet_call(add_one, matrix, c_sizeof(matrix), result, c_sizeof(result)), &
                  'a matrix')
    call check(all(result == 4), 'a matrix comes back')
    numbers = [1, 2, 3, 4]
    call check_ok(sublet_call(total, numbers, c_sizeof(numbers), answer, c_sizeof(answer)), 'a sum')
    call check(answer == 10, 'the sum is right')
    call check_code(sublet_err_output_size, &
                    sublet_call(add_one, matrix, c_sizeof(matrix), result, 8_c_size_t, reply), &
                    'a result that is too large')
    call check(reply%size == c_sizeof(matrix), 'the reply says what is needed')
  end subroutine

  subroutine check_async()
    type(sublet_invocation) :: calls(most)
    type(sublet_buffer) :: buffer
    type(c_ptr) :: memory
    type(sublet_reply) :: reply
    real(c_double), pointer :: values(:, :)
    integer, target :: done
    integer(c_int) :: code
    integer :: i
    logical :: ended
    call check_ok(sublet_buffer_create(lease, 16_c_size_t * most, memory, buffer), 'a buffer')
    call c_f_pointer(memory, values, [2, most])
    do i = 1, most
      values(1, i) = i
      call check_ok(sublet_call_async(add_one, values(1, i), 8_c_size_t, values(2, i), 8_c_size_t, &
                                      calls(i)), 'async')
    end do
    do i = 1, most
      call check_ok(sublet_invocation_wait(calls(i), reply), 'wait')
      call check(values(2, i) == i + 1, 'each result is its own')
    end do
    call check_ok(sublet_invocation_poll(calls(1), ended), 'poll')
    call check(ended, 'the call has ended')
    code = sublet_call_try(add_one, 0_c_size_t, values(1, 1), 8_c_size_t, values(2, 1), &
                           8_c_size_t, calls(1))
    call check_ok(code, 'try')
    call check_ok(sublet_invocation_wait_for(calls(1), 60000000000_c_int64_t), 'wait_for')
    done = 0
    call check_ok(sublet_call_async(add_one, values(1, 2), 8_c_size_t, values(2, 2), 8_c_size_t, &
                                    calls(2)), 'async')
    call check_ok(sublet_invocation_then(calls(2), count_up, c_loc(done)), 'then')
    call check_ok(sublet_lease_wait_all(lease, -1_c_int64_t), 'wait_all')
    call check_ok(sublet_lease_progress(lease), 'progress')
    call check(done == 1, 'the continuation has run')
    do i = 1, most
      call check_ok(sublet_invocation_free(calls(i)), 'free')
    end do
    call check_ok(sublet_buffer_free(buffer), 'free')
  end subroutine

  ! One process asks, others claim: here the same one.
  subroutine check_grants()
    type(sublet_grants) :: all, mine
    type(sublet_lease) :: claimed
    type(sublet_function) :: add
    type(sublet_session) :: detached
    type(sublet_holder) :: holders(2)
    type(sublet_node_info), allocatable :: nodes(:)
    type(sublet_lease_info), allocatable :: leases(:)
    integer(c_int8_t), allocatable :: bytes(:)
    integer(c_size_t) :: parts
    real(c_double) :: x, y
    logical :: is_private
    is_private = .false.
    call check_ok(sublet_session_manager_is_private(session, is_private), 'whose the manager is')
    call check(is_private, 'the manager is private')
    call check_ok(sublet_session_open_detached(detached, options), 'a session that claims')
    call check_ok(sublet_session_holder(session, holders(1)), 'who asks')
    call check_ok(sublet_session_holder(detached, holders(2)), 'who claims')
    call check_code(sublet_err_count, &
      sublet_session_request(session, 1, 3, all, options, holders), 'a holder for each part')
    call check_ok(sublet_session_request(session, 1, 2, all, options, holders), 'grants')
    call check_ok(sublet_grants_parts(all, parts), 'parts')
    call check(parts == 2, 'there are two parts')
    call check_ok(sublet_grants_pack(all, 1_c_size_t, bytes), 'the second part as bytes')
    call check(size(bytes) > 0, 'the bytes are there')
    call check_code(sublet_err_count, sublet_grants_pack(all, 2_c_size_t, bytes), 'no such part')
    call check_ok(sublet_grants_pack(all, 1_c_size_t, bytes), 'the second part as bytes')
    call check_code(sublet_err_invalid, sublet_grants_unpack(bytes(2:), mine), 'other bytes')
    call check_ok(sublet_grants_unpack(bytes, mine), 'grants again')
    call check_code(sublet_err_denied, sublet_lease_claim(session, mine, claimed, options), &
      'another session''s grant')
    call check_ok(sublet_lease_claim(detached, mine, claimed, options), 'a claim')
    call check_ok(sublet_function_open(claimed, FORTRAN_FUNCTIONS, 'add_one', add), 'add_one')
    x = 41
    call check_ok(sublet_call(add, x, c_sizeof(x), y, c_sizeof(y)), 'a call')
    call check(y == 42, 'the call comes back')
    call check_ok(sublet_grants_give_back(session, all), 'the rest is given back')
    call check_ok(sublet_session_nodes(session, nodes), 'the nodes')
    call check(size(nodes) == 1, 'there is one node')
    call check(nodes(1)%cores > 0 .and. nodes(1)%state(1) == 'u', 'it is up')
    call check_ok(sublet_session_leases(session, leases), 'the leases')
    call check(size(leases) >= 2, 'there are two leases at least')
    call check_ok(sublet_function_free(add), 'free')
    call check_ok(sublet_lease_free(claimed), 'free')
    call check_ok(sublet_session_free(detached), 'free')
    call check_ok(sublet_grants_free(mine), 'free')
    call check_ok(sublet_grants_free(all), 'free')
    call check_code(sublet_err_handle, sublet_lease_claim(session, mine, claimed), 'no grants')
  end subroutine

  subroutine check_loop()
    integer, parameter :: items = 3000
    real(c_double), target :: in(items), out(items)
    integer, target :: parts
    type(sublet_loop) :: loop
    type(sublet_loop_report) :: report
    integer :: i
    in = [(real(i, c_double), i=1, items)]
    out = 0
    parts = 0
    loop = sublet_loop(count=items, in_item=8, in=c_loc(in), out_item=8, out=c_loc(out), &
                       here=c_funloc(add_one_here), context=c_loc(parts))
    call check_ok(sublet_offload_for(add_one, loop, report), 'a loop')
    call check(all(out == in + 1), 'all items of a loop')
    call check(report%here + report%on_workers == items .and. report%calls > 0, &
               'workers are given parts of a loop')
    call check(parts > 0, 'this thread has a part of a loop')
    loop%in = c_null_ptr
    call check_code(sublet_err_argument, sublet_offload_for(add_one, loop), 'a loop without input')
  end subroutine

  subroutine check_batch()
    real(c_double), target :: in(most), out(most)
    type(sublet_item) :: items(most)
    integer(c_size_t) :: failed
    integer :: i
    do i = 1, most
      in(i) = 2 * i
      items(i) = sublet_item(c_loc(in(i)), 8, c_loc(out(i)), 8, sublet_reply())
    end do
    failed = 1
    call check_ok(sublet_batch(add_one, items, -1_c_int64_t, failed), 'a batch')
    call check(failed == 0 .and. all(out == in + 1), 'every item comes back')
  end subroutine

  subroutine check_bad_arguments()
    type(sublet_function) :: none
    type(sublet_invocation) :: no_call
    type(sublet_lease) :: no_lease
    real(c_double) :: x
    x = 0
    call check_code(sublet_err_handle, sublet_call(none, x, 8_c_size_t, x, 8_c_size_t), 'null')
    call check_code(sublet_err_handle, sublet_invocation_wait(no_call), 'null')
    call check_code(sublet_err_handle, sublet_lease_progress(no_lease), 'null')
    call check_code(sublet_err_count, sublet_call(add_one, x, -8_c_size_t, x, 8_c_size_t), 'negative')
    call check_code(sublet_err_count, sublet_lease_open(session, -1, no_lease), 'negative')
    call check_code(sublet_err_invalid, sublet_function_open(lease, FORTRAN_FUNCTIONS, 'no_such', &
                                                             none), 'a missing function')
    call check(index(sublet_last_error(), 'no_such') > 0, 'the error names it')
  end subroutine

  subroutine check_release()
    type(sublet_usage) :: usage
    real(c_double) :: x
    x = 0
    call check_ok(sublet_lease_usage(lease, usage), 'the usage')
    call check(usage%invocations > 2 * most, 'the calls are counted')
    call check_ok(sublet_lease_release(lease), 'release')
    call check_code(sublet_err_closed, sublet_call(add_one, x, 8_c_size_t, x, 8_c_size_t), 'closed')
    call check_ok(sublet_function_free(add_one), 'free')
    call check_ok(sublet_function_free(total), 'free')
    call check_ok(sublet_lease_free(lease), 'free')
    call check_ok(sublet_session_free(session), 'free')
    call check_ok(sublet_options_free(options), 'free')
    call check_ok(sublet_session_free(session), 'free again')
  end subroutine
end program calls_test
