# Batch scripts as part of the sublet command.

# sublet_embed_slurm_templates(RESULT FILES...): writes a source that defines slurm_templates(), with the
# text of each file NAME.sbatch, and puts its path into RESULT. A changed file makes it anew.
function(sublet_embed_slurm_templates result)
  set(SUBLET_TEMPLATES "")
  foreach(_file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_file}")
    file(READ "${_file}" _hex HEX)
    # By its bytes: CMake would take semicolons and brackets of a script for its own.
    string(REGEX REPLACE "(..)" "\\\\x\\1" _text "${_hex}")
    # A string of its own for each byte, or "\x41" "B" would be read as one number.
    string(REGEX REPLACE "(\\\\x..)" "\"\\1\"" _text "${_text}")
    string(REGEX REPLACE "(\"\\\\x0a\")" "\\1\n     " _text "${_text}")
    get_filename_component(_name "${_file}" NAME_WE)
    string(APPEND SUBLET_TEMPLATES "    {\"${_name}\",\n     ${_text}},\n")
  endforeach()
  list(LENGTH ARGN SUBLET_TEMPLATE_COUNT)
  set(_source "${CMAKE_CURRENT_BINARY_DIR}/slurm_templates_embedded.cpp")
  file(CONFIGURE OUTPUT "${_source}" @ONLY CONTENT [=[
// Made by cmake/SubletEmbed.cmake from slurm/templates.
#include <cli/slurm_templates.hpp>

#include <array>

namespace sublet::cli {

std::span<const SlurmTemplate> slurm_templates() {
  static constexpr std::array<SlurmTemplate, @SUBLET_TEMPLATE_COUNT@> kTemplates = {{
@SUBLET_TEMPLATES@  }};
  return kTemplates;
}

}  // namespace sublet::cli
]=])
  set(${result} "${_source}" PARENT_SCOPE)
endfunction()

# sublet_embed_web_assets(RESULT FILES...): the same for the files of the resource manager's page; defines
# web::assets().
function(sublet_embed_web_assets result)
  set(SUBLET_ASSETS "")
  set(_types html "text/html" css "text/css" js "text/javascript" json "application/json")
  foreach(_file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_file}")
    file(READ "${_file}" _hex HEX)
    string(REGEX REPLACE "(..)" "\"\\\\x\\1\"" _text "${_hex}")
    string(REGEX REPLACE "(\"\\\\x0a\")" "\\1\n     " _text "${_text}")
    get_filename_component(_name "${_file}" NAME)
    get_filename_component(_kind "${_file}" LAST_EXT)
    string(SUBSTRING "${_kind}" 1 -1 _kind)
    list(FIND _types "${_kind}" _at)
    if(_at EQUAL -1)
      message(FATAL_ERROR "what type has ${_file}?")
    endif()
    math(EXPR _at "${_at} + 1")
    list(GET _types ${_at} _type)
    string(APPEND SUBLET_ASSETS
      "    {\"${_name}\", \"${_type}; charset=utf-8\",\n     ${_text}},\n")
  endforeach()
  list(LENGTH ARGN SUBLET_ASSET_COUNT)
  set(_source "${CMAKE_CURRENT_BINARY_DIR}/web_assets_embedded.cpp")
  file(CONFIGURE OUTPUT "${_source}" @ONLY CONTENT [=[
// Made by cmake/SubletEmbed.cmake from manager/web.
#include <web/assets.hpp>

#include <array>

namespace sublet::manager::web {

std::span<const Asset> assets() {
  static constexpr std::array<Asset, @SUBLET_ASSET_COUNT@> kAssets = {{
@SUBLET_ASSETS@  }};
  return kAssets;
}

}  // namespace sublet::manager::web
]=])
  set(${result} "${_source}" PARENT_SCOPE)
endfunction()
